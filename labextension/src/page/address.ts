/** The address of each view of the page, so that it can be bookmarked, sent, and gone back to. */
import type { Navigation, Route } from '../navigation';

/** The path below `{base_url}postdoc/`. */
export function pathOf(route: Route): string {
  switch (route.view) {
    case 'session':
      return `s/${encodeURIComponent(route.id)}`;
    case 'notebook':
      return `notebook/${encodeURIComponent(route.id)}`;
    case 'rooms':
      return route.room === undefined
        ? 'rooms'
        : `rooms/${encodeURIComponent(route.room.replace(/^room:/, ''))}`;
    case 'new':
      return 'new';
    case 'sessions':
      return '';
  }
}

/** The view at a path below `{base_url}postdoc/`; the list for anything unknown. */
export function routeOf(path: string): Route {
  const [view, id] = path.replace(/^\/+|\/+$/g, '').split('/');
  const name = decode(id);
  if (view === 's' && name) {
    return { view: 'session', id: name };
  }
  if (view === 'notebook' && name) {
    return { view: 'notebook', id: name };
  }
  if (view === 'rooms') {
    return name ? { view: 'rooms', room: name } : { view: 'rooms' };
  }
  return view === 'new' ? { view: 'new' } : { view: 'sessions' };
}

function decode(text: string | undefined): string {
  try {
    return decodeURIComponent(text ?? '');
  } catch {
    return '';
  }
}

/** The path of the page as the browser shows it, with a slash at its end: `baseUrl` may be written otherwise. */
export function rootOf(baseUrl: string): string {
  return new URL(`${baseUrl.replace(/\/*$/, '/')}postdoc/`, window.location.origin).pathname;
}

/** The view that the address bar names; the whole route of an entry of the history, where it was kept there. */
function here(root: string, state: unknown): Route {
  const route = routeOf(window.location.pathname.slice(root.length));
  const kept = (state as { postdoc?: Route } | null)?.postdoc;
  return kept !== undefined && pathOf(kept) === pathOf(route) ? kept : route;
}

/** The route to begin with. An address that names no view becomes that of the list. */
export function begin(root: string): Route {
  const route = here(root, window.history.state);
  const path = root + pathOf(route);
  if (path !== window.location.pathname) {
    window.history.replaceState({ postdoc: route }, '', path);
  }
  return route;
}

/** Keep the address bar and the navigation together. `root` is the path of the page, with a slash at its end. */
export function follow(navigation: Navigation, root: string): () => void {
  let known = pathOf(navigation.get());
  const leave = navigation.subscribe(() => {
    const route = navigation.get();
    const path = pathOf(route);
    if (path !== known) {
      known = path;
      // A form's first values are in no address; with the entry they are there again after "back".
      window.history.pushState({ postdoc: route }, '', root + path);
    }
  });
  const back = (event: PopStateEvent) => {
    const route = here(root, event.state);
    known = pathOf(route);
    navigation.go(route);
  };
  window.addEventListener('popstate', back);
  return () => {
    leave();
    window.removeEventListener('popstate', back);
  };
}
