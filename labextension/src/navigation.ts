/** Where a panel is: one of its views. JupyterLab's commands and the address bar of the page steer it from outside. */
import { createContext, useContext, useSyncExternalStore } from 'react';

export type Route =
  | { readonly view: 'sessions' }
  | { readonly view: 'session'; readonly id: string }
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

/** The current route, and who wants to know. */
export class Navigation {
  private listeners = new Set<() => void>();

  constructor(private current: Route = { view: 'sessions' }) {}

  get = (): Route => this.current;

  go = (route: Route): void => {
    this.current = route;
    this.listeners.forEach(listener => listener());
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

/** The current route. */
export function useRoute(): Route {
  const navigation = useNavigation();
  return useSyncExternalStore(navigation.subscribe, navigation.get);
}
