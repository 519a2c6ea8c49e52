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
  define(navigator, 'serviceWorker', { value: undefined });

  // Light or dark as the page around it, which says so in the frame's name and tells when it changes.
  let dark = window.name === 'postdoc-dark';
  const media = window.matchMedia.bind(window);
  const schemes = ['dark', 'light'].map(scheme => {
    const list = new EventTarget();
    const query = `(prefers-color-scheme: ${scheme})`;
    define(list, 'matches', { get: () => dark === (scheme === 'dark') });
    define(list, 'media', { value: query });
    list.addListener = listener => list.addEventListener('change', listener);
    list.removeListener = listener => list.removeEventListener('change', listener);
    return [query, list];
  });
  const queries = new Map(schemes);
  window.matchMedia = query => queries.get(query) ?? media(query);
  window.addEventListener('message', event => {
    if (event.source !== window.parent || event.data?.type !== 'postdoc:theme') return;
    dark = event.data.theme === 'dark';
    for (const list of queries.values()) {
      list.dispatchEvent(Object.assign(new Event('change'), { matches: list.matches, media: list.media }));
    }
  });
  if (/^postdoc-(dark|light)$/.test(window.name)) {
    const plain = Object.defineProperty;
    Object.defineProperty = (object, name, descriptor) => {
      if (object !== window || name !== '__MARIMO_MOUNT_CONFIG__') return plain(object, name, descriptor);
      Object.defineProperty = plain;
      const { configOverrides, ...config } = descriptor.value;
      const display = { ...configOverrides?.display, theme: 'system' };
      return plain(object, name, { ...descriptor, value: Object.freeze({ ...config, configOverrides: { ...configOverrides, display } }) });
    };
  }

  // The page opens no window: its address could carry anything away. Who holds the frame asks the person instead.
  if (window.parent === window) return;
  const tell = message => window.parent.postMessage({ type: 'postdoc-notebook', ...message }, '*');
  const own = new URL('.', location.href).href;
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
  window.addEventListener('load', () => tell({ event: 'loaded' }));
})();
