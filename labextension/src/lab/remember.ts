/** The panel comes back to where it was: after a reload, and on each page of Notebook 7. */
import type { Navigation, Route } from '../navigation';
import type { Memory } from '../platform';

const KEY = 'panel';

/** Go to the place that is remembered, unless somebody went elsewhere meanwhile; remember where it goes from now on. */
export async function rememberRoute(navigation: Navigation, memory: Memory): Promise<void> {
  let moved = false;
  navigation.subscribe(() => {
    moved = true;
    void memory.set(KEY, { ...lasting(navigation.get()) });
  });
  const route = routeFrom(await memory.get(KEY).catch(() => undefined));
  if (route !== null && !moved) {
    navigation.go(route);
  }
}

/** A form would take the focus when JupyterLab starts; what has been entered is kept by the form itself. */
function lasting(route: Route): Route {
  return route.view === 'new' ? { view: 'sessions' } : route;
}

export function routeFrom(stored: unknown): Route | null {
  const { view, id, room } = (stored ?? {}) as { view?: unknown; id?: unknown; room?: unknown };
  switch (view) {
    case 'session':
      return typeof id === 'string' && id !== '' ? { view, id } : null;
    case 'rooms':
      return typeof room === 'string' ? { view, room } : { view };
    default:
      return null;
  }
}
