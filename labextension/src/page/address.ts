/** The address of each view of the page, so that it can be bookmarked, sent, and gone back to. */
import type { Navigation, Route } from '../navigation';

/** The path below `{base_url}postdoc/`. */
export function pathOf(route: Route): string {
  switch (route.view) {
    case 'session':
      return `s/${encodeURIComponent(route.id)}`;
    case 'rooms':
      return route.room === undefined ? 'rooms' : `rooms/${encodeURIComponent(route.room.replace(/^room:/, ''))}`;
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

/** Keep the address bar and the navigation together. `root` is the path of the page, with a slash at its end. */
export function follow(navigation: Navigation, root: string): () => void {
  const here = () => routeOf(window.location.pathname.slice(root.length));
  let known = pathOf(here());
  const leave = navigation.subscribe(() => {
    const path = pathOf(navigation.get());
    if (path !== known) {
      known = path;
      window.history.pushState(null, '', root + path);
    }
  });
  const back = () => {
    const route = here();
    known = pathOf(route);
    navigation.go(route);
  };
  window.addEventListener('popstate', back);
  return () => {
    leave();
    window.removeEventListener('popstate', back);
  };
}
