/** The reader's place in the timeline: at its end, or at the row that they look at. It never jumps by itself. */
import type { RefObject } from 'react';
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

import { firstBelow, follows, atEnd } from './stick';

/** How long after a click on something that opens its growth is the reader's doing (milliseconds). */
const OPENING_MS = 400;
/** How long after a wheel, a key or a finger a scroll is the reader's; a scroll bar can be held for longer. */
const INPUT_MS = 300;
const HELD_MS = 5_000;
/** How long after a change of size the browser may still put things right. */
const SETTLING_MS = 250;

export interface Place {
  /** The end is in view, or what comes is followed there. */
  readonly following: boolean;
  toEnd(): void;
  onScroll(): void;
  onClickCapture(event: React.MouseEvent): void;
}

/** `box` scrolls `inner`, which holds the rows (`.jp-Postdoc-Item`). `changed` is a new value when rows change. */
export function usePlace(
  box: RefObject<HTMLElement>,
  inner: RefObject<HTMLElement>,
  changed: unknown,
  onTop: () => void
): Place {
  const [following, setFollowing] = useState(true);
  const follow = useRef(true);
  const lastTop = useRef(0);
  const held = useRef<{ row: Element; top: number } | null>(null);
  const opening = useRef<number | null>(null);
  /** Until when a scroll is the reader's doing, and until when it may be the browser's (`performance.now`). */
  const input = useRef(-Infinity);
  const settling = useRef(-Infinity);

  const set = useCallback((value: boolean) => {
    follow.current = value;
    setFollowing(value);
  }, []);

  /** Remember which row is the first in view, and where it is. */
  const hold = useCallback(() => {
    const node = box.current;
    if (node === null) {
      return;
    }
    const edge = node.getBoundingClientRect().top;
    const rows = node.getElementsByClassName('jp-Postdoc-Item');
    const at = firstBelow(rows.length, i => (rows[i] as Element).getBoundingClientRect().bottom, edge);
    const row = rows[at];
    held.current = row === undefined ? null : { row, top: row.getBoundingClientRect().top - edge };
    lastTop.current = node.scrollTop;
  }, [box]);

  /** After anything has changed its size: back to the end, or to the row that was in view. */
  const keep = useCallback(() => {
    const node = box.current;
    if (node === null) {
      return;
    }
    if (follow.current) {
      node.scrollTop = node.scrollHeight;
      lastTop.current = node.scrollTop;
    } else if (held.current?.row.isConnected) {
      const top = held.current.row.getBoundingClientRect().top - node.getBoundingClientRect().top;
      if (Math.abs(top - held.current.top) >= 1) {
        node.scrollTop += top - held.current.top;
        lastTop.current = node.scrollTop;
      }
    }
  }, [box]);

  const settle = useCallback(() => {
    settling.current = performance.now() + SETTLING_MS;
    keep();
  }, [keep]);
  useLayoutEffect(settle, [settle, changed]);

  // Pictures and formulas grow after they were put in; the box itself gets smaller when a draft gets longer.
  useEffect(() => {
    const watch = new ResizeObserver(settle);
    [box.current, inner.current].forEach(node => node !== null && watch.observe(node));
    return () => {
      watch.disconnect();
      window.clearTimeout(opening.current ?? undefined);
    };
  }, [settle, box, inner]);

  useEffect(() => {
    const node = box.current;
    const soon = () => (input.current = Math.max(input.current, performance.now() + INPUT_MS));
    const held = () => (input.current = performance.now() + HELD_MS);
    const short = ['wheel', 'touchmove', 'keydown'];
    short.forEach(name => node?.addEventListener(name, soon, { passive: true }));
    node?.addEventListener('pointerdown', held);
    return () => {
      short.forEach(name => node?.removeEventListener(name, soon));
      node?.removeEventListener('pointerdown', held);
    };
  }, [box]);

  const toEnd = useCallback(() => {
    set(true);
    keep();
  }, [set, keep]);

  const onScroll = () => {
    const node = box.current;
    if (node === null || opening.current !== null) {
      return;
    }
    const up = node.scrollTop < lastTop.current;
    const now = performance.now();
    if (follow.current && up && !atEnd(node) && now < settling.current && now > input.current) {
      // Rows out of view are estimated until they were drawn once: for a moment there was less to scroll, and the
      // browser went up. Nobody else did.
      settle();
      return;
    }
    const value = follows(follow.current, lastTop.current, node);
    if (value !== follow.current) {
      set(value);
    }
    hold();
    if (up && !value && node.scrollTop < 80) {
      onTop();
    }
  };

  const onClickCapture = (event: React.MouseEvent) => {
    if (!follow.current || !(event.target as Element).closest('[aria-expanded], button, summary')) {
      return;
    }
    // What somebody opens at the end stays where it is, and is not scrolled away by its own size.
    hold();
    follow.current = false;
    window.clearTimeout(opening.current ?? undefined);
    opening.current = window.setTimeout(() => {
      opening.current = null;
      hold();
      set(box.current === null || atEnd(box.current));
    }, OPENING_MS);
  };

  return { following, toEnd, onScroll, onClickCapture };
}
