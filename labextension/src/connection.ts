/** The server of a page that it served itself: same origin, the browser's login cookie, no token in sight. */
import type { Server } from './client';

/** `baseUrl`: the path of the Jupyter server, with a slash at both ends, e.g. `/` or `/user/ana/`. */
export function pageServer(baseUrl: string): Server {
  const root = new URL(`${baseUrl.replace(/\/*$/, '/')}postdoc/`, window.location.origin);
  return {
    request(path, init = {}) {
      const headers = new Headers(init.headers);
      if (init.method !== undefined && !['GET', 'HEAD'].includes(init.method)) {
        headers.set('X-XSRFToken', cookie('_xsrf'));
      }
      if (init.body !== undefined && init.body !== null) {
        headers.set('Content-Type', 'application/json');
      }
      return fetch(new URL(path, root), { ...init, headers, credentials: 'same-origin', cache: 'no-store' });
    },
    socket(path) {
      const url = new URL(path, root);
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
      return new WebSocket(url);
    },
    url: path => new URL(path, root).href
  };
}

function cookie(name: string): string {
  const found = document.cookie.split('; ').find(one => one.startsWith(`${name}=`));
  return found === undefined ? '' : decodeURIComponent(found.slice(name.length + 1));
}
