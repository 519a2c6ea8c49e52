/** Where a panel is: one of its views. JupyterLab's commands and the address bar of the page steer it from outside. */
import { createContext, useContext, useSyncExternalStore } from 'react';

export type Route =
  | { readonly view: 'sessions' }
  | { readonly view: 'session'; readonly id: string }
  /** The session's notebook, alive; `cell`: the one to bring into view. */
  | { readonly view: 'notebook'; readonly id: string; readonly cell?: string }
  | {
      readonly view: 'new';
      readonly topic?: string;
      readonly template?: string;
      /** Values for parameters of whatever template is chosen, where it has them (`data`: a path). */
      readonly params?: Readonly<Record<string, unknown>>;
      /** Text or files that the research is about, given by a context menu or a selection. */
      readonly context?: readonly { readonly label: string; readonly text: string }[];
      /** Changes with each request, so that asking twice opens a fresh form twice. */
      readonly key?: string;
    }
  | { readonly view: 'rooms'; readonly room?: string };

/** What lies over the view, whichever it is: how GitHub is connected. */
export type Overlay = 'github';

/** The current route, and who wants to know. */
export class Navigation {
  private listeners = new Set<() => void>();
  private over: Overlay | null = null;
  private overListeners = new Set<() => void>();

  constructor(private current: Route = { view: 'sessions' }) {}

  get = (): Route => this.current;

  go = (route: Route): void => {
    this.current = route;
    this.listeners.forEach(listener => listener());
  };

  overlay = (): Overlay | null => this.over;

  /** Lay something over the view; null takes it away. */
  show = (overlay: Overlay | null): void => {
    this.over = overlay;
    this.overListeners.forEach(listener => listener());
  };

  subscribeOverlay = (listener: () => void): (() => void) => {
    this.overListeners.add(listener);
    return () => {
      this.overListeners.delete(listener);
    };
  };

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };
}

const Context = createContext<Navigation | null>(null);

export const NavigationProvider = Context.Provider;

/** The panel's navigation; throws outside of a provider. */
export function useNavigation(): Navigation {
  const navigation = useContext(Context);
  if (navigation === null) {
    throw new Error('No navigation: wrap the component in <NavigationProvider>.');
  }
  return navigation;
}

/** What lies over the view. */
export function useOverlay(): Overlay | null {
  const navigation = useNavigation();
  return useSyncExternalStore(navigation.subscribeOverlay, navigation.overlay);
}

/** The current route. */
export function useRoute(): Route {
  const navigation = useNavigation();
  return useSyncExternalStore(navigation.subscribe, navigation.get);
}
