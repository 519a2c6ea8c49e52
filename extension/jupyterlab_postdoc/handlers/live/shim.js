(() => {
  // An opaque origin has no storage and no cookies; marimo's page asks for them. In memory, for this page only.
  const storage = () => {
    const map = new Map();
    return {
      getItem: key => (map.has(`${key}`) ? map.get(`${key}`) : null),
      setItem: (key, value) => void map.set(`${key}`, `${value}`),
      removeItem: key => void map.delete(`${key}`),
      clear: () => map.clear(),
      key: index => [...map.keys()][index] ?? null,
      get length() {
        return map.size;
      }
    };
  };
  const define = (object, name, descriptor) => Object.defineProperty(object, name, { configurable: true, ...descriptor });
  define(window, 'localStorage', { value: storage() });
  define(window, 'sessionStorage', { value: storage() });
  define(document, 'cookie', { get: () => '', set: () => undefined });
  const never = () => new Promise(() => undefined);
  const workers = { register: never, ready: never(), controller: null };
  define(navigator, 'serviceWorker', {
    value: { ...workers, getRegistrations: async () => [], addEventListener: () => undefined }
  });

  // The frame's name says how it begins: light or dark, and after a space the place that the page before it showed.
  const [, theme, where] = /^postdoc-(dark|light)(?: (.*))?$/.exec(window.name) ?? [];

  // Light or dark as the page around it, which tells when it changes. marimo follows this attribute, which is how other
  // editors tell it their theme.
  const paint = dark => {
    document.body.dataset.vscodeThemeKind = dark ? 'vscode-dark' : 'vscode-light';
  };
  if (theme) {
    const born = new MutationObserver(() => {
      if (document.body === null) return;
      born.disconnect();
      paint(theme === 'dark');
    });
    born.observe(document.documentElement, { childList: true });
  }
  // A cell to bring into view, which may have to be drawn first.
  const reveal = (name, tries) => {
    const cell = document.querySelector(`[data-cell-name="${CSS.escape(name)}"]`);
    if (cell) cell.scrollIntoView({ block: 'start' });
    else if (tries > 0) setTimeout(reveal, 200, name, tries - 1);
  };
  window.addEventListener('message', event => {
    if (event.source !== window.parent) return;
    if (event.data?.type === 'postdoc:theme') paint(event.data.theme === 'dark');
    if (event.data?.type === 'postdoc:cell') reveal(`${event.data.name}`, 100);
  });

  // What ends the notebook is around this page: marimo's own button for it is refused, and would look broken. That its
  // connection is lost is said there, too, with what is done about it. Packages come by way of the agent, which asks: the
  // card for missing ones says so in the place of its button. (No :has() here: it made each change of the page twice as
  // slow.)
  const style = document.createElement('style');
  style.textContent = `[data-testid="shutdown-button"] { display: none; }
    [data-testid="disconnected-indicator"], .noise, .disconnected-gradient { display: none; }
    .fixed.left-12 .ml-auto.items-baseline {
      & > * { display: none; }
      &::after { content: "Nothing is installed from this page. The agent asks about what its cells miss, once it has the notebook."; }
    }`;
  document.documentElement.append(style);

  // No policy stops these from talking to anybody.
  for (const name of ['RTCPeerConnection', 'webkitRTCPeerConnection', 'RTCDataChannel'])
    Object.defineProperty(window, name, { value: undefined, configurable: false, writable: false });

  const own = new URL('.', location.href).href;

  // A request with headers of its own would be asked about first, every time again: a page without an origin has no
  // memory of the answer. So its headers travel in the first line of the body. Bodies are remembered, since to read
  // one from a request would wait until the page has drawn what a click changed.
  const send = window.fetch;
  const bodies = new WeakMap();
  window.Request = class Request extends window.Request {
    constructor(input, init) {
      super(input, init);
      if (typeof init?.body === 'string') bodies.set(this, init.body);
    }
  };
  const foldable = request =>
    request.method === 'POST' &&
    request.url.startsWith(own) &&
    /^application\/json\b/i.test(request.headers.get('content-type') ?? '') &&
    [...request.headers.values()].every(value => /^[ -~]*$/.test(value)); // the server takes no others from a body
  window.fetch = async (input, init) => {
    if (input instanceof Request && init) return send(input, init);
    const request = input instanceof Request ? input : new Request(input, init);
    const body = bodies.get(request);
    if (body === undefined || !foldable(request)) return send(request);
    const { keepalive, signal } = request;
    const head = JSON.stringify(Object.fromEntries(request.headers));
    const headers = { 'Content-Type': 'text/plain;postdoc=1' };
    return send(request.url, { method: 'POST', headers, body: `${head}\n${body}`, keepalive, signal });
  };

  // The page opens no window: its address could carry anything away. Who holds the frame asks the person instead.
  if (window.parent === window) return;
  const tell = message => window.parent.postMessage({ type: 'postdoc-notebook', ...message }, '*');
  const outside = href => /^https?:/.test(href) && !href.startsWith(own);
  document.addEventListener(
    'click',
    event => {
      const link = event.composedPath().find(node => node instanceof HTMLAnchorElement && node.href);
      if (!link || !outside(link.href)) return;
      event.preventDefault();
      tell({ event: 'open', url: link.href });
    },
    true
  );
  window.open = url => {
    const href = new URL(url, own).href;
    if (outside(href)) tell({ event: 'open', url: href });
    return null;
  };
  // Several messages may come as one: what they change is drawn once then.
  const together = url => `${url}${url.includes('?') ? '&' : '?'}postdoc=together`;
  const apart = event => {
    if (typeof event.data !== 'string' || !event.data.startsWith('\x1e')) return;
    event.stopImmediatePropagation();
    for (const data of event.data.slice(1).split('\x1e')) {
      if (event.target.readyState !== Socket.OPEN) return;
      event.target.dispatchEvent(new MessageEvent('message', { data, origin: event.origin }));
    }
  };
  // The server says on the page's socket when the ticket ends. Who holds the frame mostly knows why, and takes the page
  // away at once (the notebook changed hands); else it asks for another ticket.
  const Socket = window.WebSocket;
  window.WebSocket = class WebSocket extends Socket {
    constructor(url, ...given) {
      super(`${url}`.startsWith(own.replace(/^http/, 'ws')) ? together(`${url}`) : url, ...given);
      this.addEventListener('message', apart);
      this.addEventListener('close', event => {
        if (event.code === 4403) setTimeout(tell, 2000, { event: 'expired' });
      });
    }
  };
  // The place that is shown: the first cell that can be seen, and how far its top is below that of the page. It is told
  // as it changes, for the page that may take this one's place.
  const pane = () => document.getElementById('App');
  const cells = () => [...document.querySelectorAll('[data-cell-id][data-cell-name]')];
  const place = () => {
    const top = pane()?.getBoundingClientRect().top ?? 0;
    const cell = cells().find(one => one.getBoundingClientRect().bottom > top);
    return cell && `${Math.round(cell.getBoundingClientRect().top - top)} ${cell.dataset.cellId}`;
  };
  let telling = 0;
  const moved = () => {
    telling ||= setTimeout(() => {
      telling = 0;
      const now = place();
      if (now) tell({ event: 'place', place: now });
    }, 100);
  };
  document.addEventListener('scroll', moved, { capture: true, passive: true });
  const [, below, id] = /^(-?\d+) (.+)$/.exec(where ?? '') ?? [];
  const restore = () => {
    const cell = cells().find(one => one.dataset.cellId === id);
    const at = pane();
    if (cell && at) at.scrollTop += cell.getBoundingClientRect().top - at.getBoundingClientRect().top - Number(below);
  };
  // Cells get their height bit by bit: it is brought back again until then, unless the person goes elsewhere.
  const settle = () => {
    if (id === undefined) return;
    const held = new AbortController();
    for (const what of ['wheel', 'pointerdown', 'keydown', 'touchmove'])
      window.addEventListener(what, () => held.abort(), { capture: true, passive: true, signal: held.signal });
    restore();
    const again = setInterval(() => (held.signal.aborted ? clearInterval(again) : restore()), 50);
    setTimeout(() => held.abort(), 2000);
  };

  // Whether it is connected: marimo says so on its root.
  let told = '';
  const connected = () => {
    const state = pane()?.dataset.connectionState;
    if (!state || state === told) return;
    told = state;
    tell({ event: state === 'OPEN' ? 'connected' : state === 'CLOSED' ? 'closed' : 'lost' });
  };

  // It is there when its first cell is: until then the page is empty.
  const drawn = tries => {
    if (tries > 0 && !document.querySelector('[data-cell-name]')) {
      setTimeout(drawn, 50, tries - 1);
      return;
    }
    settle();
    tell({ event: 'loaded' });
    connected();
    const options = { subtree: true, attributes: true, attributeFilter: ['data-connection-state'] };
    new MutationObserver(connected).observe(document.body, options);
  };
  // Not `load`: one picture or font that does not come would keep the whole page back.
  document.addEventListener('DOMContentLoaded', () => drawn(400));
})();
