/** Where a list of messages is scrolled to: at its end as long as the user is there, else where they read. */
import type React from 'react';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

/** Pixels from the end that still count as being there. */
const NEAR_BOTTOM = 40;

interface Stick {
  host: React.RefObject<HTMLDivElement>;
  onScroll: () => void;
  toBottom: () => void;
  /** Messages that came while the user read further up. */
  fresh: number;
}

/** `last`: the newest message, shown or not; `onSeen` is called when it came while the end is on the screen. */
export function useStick(
  shown: readonly { key: string }[],
  last: string | undefined,
  onSeen: () => void
): Stick {
  const host = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const newestBefore = useRef<string | undefined>(undefined);
  /** The message at the upper edge, and where it stands (pixels below the edge): it stays there, whatever grows. */
  const anchor = useRef<{ key: string; offset: number } | null>(null);
  const [fresh, setFresh] = useState(0);
  const seen = useRef(onSeen);
  seen.current = onSeen;

  const settle = useCallback(() => {
    const node = host.current;
    if (node === null) {
      return;
    }
    if (stuck.current) {
      node.scrollTop = node.scrollHeight;
    } else if (anchor.current !== null) {
      const { key, offset } = anchor.current;
      const message = messagesIn(node).find(one => one.dataset.key === key);
      if (message !== undefined) {
        node.scrollTop = message.offsetTop - offset;
      }
    }
  }, []);

  useLayoutEffect(() => {
    const newest = shown.at(-1)?.key;
    if (!stuck.current && newest !== newestBefore.current) {
      const from = shown.findIndex(one => one.key === newestBefore.current);
      setFresh(n => n + (from < 0 ? 1 : shown.length - 1 - from));
    }
    newestBefore.current = newest;
    settle();
  }, [shown, settle]);

  // Markdown and pictures grow after they were put in.
  useEffect(() => {
    const node = host.current;
    if (node === null) {
      return;
    }
    const observer = new ResizeObserver(settle);
    observer.observe(node);
    Array.from(node.children).forEach(child => observer.observe(child));
    return () => observer.disconnect();
  }, [shown, settle]);

  useEffect(() => {
    const look = () => {
      if (stuck.current && last !== undefined && document.visibilityState !== 'hidden') {
        seen.current();
      }
    };
    look();
    document.addEventListener('visibilitychange', look);
    return () => document.removeEventListener('visibilitychange', look);
  }, [last, fresh]);

  return {
    host,
    fresh,
    onScroll: () => {
      const node = host.current;
      if (node !== null) {
        stuck.current = node.scrollHeight - node.scrollTop - node.clientHeight <= NEAR_BOTTOM;
        const top = messagesIn(node).find(one => one.offsetTop + one.offsetHeight > node.scrollTop);
        anchor.current = top ? { key: top.dataset.key ?? '', offset: top.offsetTop - node.scrollTop } : null;
        if (stuck.current && fresh > 0) {
          setFresh(0);
        }
      }
    },
    toBottom: () => {
      stuck.current = true;
      setFresh(0);
      settle();
    }
  };
}

/** The messages, each of which tells its key. */
function messagesIn(node: HTMLElement): HTMLElement[] {
  return Array.from(node.querySelectorAll<HTMLElement>(':scope > [data-key]'));
}
