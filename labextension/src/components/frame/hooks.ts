/** What the frame needs to know of the page it is in. */
import type { RefObject } from 'react';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';

import { useNavigation, useRoute } from '../../navigation';
import type { Route } from '../../navigation';

/** From this width on (CSS pixels) the list stands beside the view. */
export const WIDE_PX = 700;

/** Whether the element has room for two columns; `guess` until it can be measured (it is not shown yet). */
export function useWide(host: RefObject<HTMLElement>, guess = false): boolean {
  const [wide, setWide] = useState(guess);
  useLayoutEffect(() => {
    const element = host.current;
    if (element === null) {
      return;
    }
    const measure = () => {
      if (element.clientWidth > 0) {
        setWide(element.clientWidth >= WIDE_PX);
      }
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, [host]);
  return wide;
}

/** Whether the user can see the element: it is on the screen, and the page is not hidden. */
export function useVisible(host: RefObject<HTMLElement>): boolean {
  const [onScreen, setOnScreen] = useState(true);
  const [hidden, setHidden] = useState(() => document.visibilityState === 'hidden');
  useEffect(() => {
    const changed = () => setHidden(document.visibilityState === 'hidden');
    document.addEventListener('visibilitychange', changed);
    return () => document.removeEventListener('visibilitychange', changed);
  }, []);
  useEffect(() => {
    if (host.current === null || typeof IntersectionObserver === 'undefined') {
      return;
    }
    const observer = new IntersectionObserver(entries => {
      const entry = entries[entries.length - 1];
      setOnScreen(entry === undefined || entry.isIntersecting);
    });
    observer.observe(host.current);
    return () => observer.disconnect();
  }, [host]);
  return onScreen && !hidden;
}

/** What tells two views apart. */
export function routeKey(route: Route): string {
  switch (route.view) {
    case 'session':
      return `session/${route.id}`;
    case 'notebook':
      return `notebook/${route.id}`;
    case 'new':
      return `new/${route.key ?? ''}`;
    case 'rooms':
      return 'rooms';
    case 'sessions':
      return 'sessions';
  }
}

/**
 * When the view changes and the keyboard was in the panel, the focus goes to the new view: to what asked for it
 * (a form's first field), the list, the first heading, or the region itself. A view that is changed from elsewhere,
 * while the user types in a notebook, takes the focus from nobody.
 */
export function useFocusOnChange(host: RefObject<HTMLElement>, view: RefObject<HTMLElement>): void {
  const navigation = useNavigation();
  const key = routeKey(useRoute());
  const ours = useRef(false);
  const before = useRef(key);
  useLayoutEffect(
    () =>
      navigation.subscribe(() => {
        const focused = document.activeElement;
        ours.current = focused !== null && host.current !== null && host.current.contains(focused);
      }),
    [navigation, host]
  );
  useEffect(() => {
    if (before.current === key) {
      return;
    }
    before.current = key;
    const region = view.current;
    if (!ours.current || region === null || region.contains(document.activeElement)) {
      return;
    }
    const target = region.querySelector<HTMLElement>('[role=listbox], h1, h2, h3') ?? region;
    if (target.tabIndex < 0) {
      target.tabIndex = -1;
    }
    target.focus({ preventScroll: true });
  }, [key, view]);
}
