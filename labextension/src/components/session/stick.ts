/** Where a scrolled list stays when something is added to it or grows in it. */

/** So near to the end (pixels) counts as being at the end. */
export const NEAR_END = 40;

export interface Scrolled {
  readonly scrollTop: number;
  readonly scrollHeight: number;
  readonly clientHeight: number;
}

/** Whether the end is in view, so that what comes is to be followed. */
export function atEnd(box: Scrolled): boolean {
  return box.scrollHeight - box.scrollTop - box.clientHeight <= NEAR_END;
}

/**
 * Whether the end is followed after the box was scrolled. `lastTop` is where it was before: only who goes up leaves the
 * end. That the end has moved away meanwhile, because something grew, is no wish of the reader.
 */
export function follows(was: boolean, lastTop: number, box: Scrolled): boolean {
  return atEnd(box) || (was && box.scrollTop >= lastTop);
}

/** How many items have come since `seen` (the key of the last one that was in view). */
export function newSince(items: readonly { readonly key: string }[], seen: string | null): number {
  if (seen === null) {
    return 0;
  }
  for (let i = items.length - 1; i >= 0; i--) {
    if (items[i]?.key === seen) {
      return items.length - 1 - i;
    }
  }
  return items.length;
}

/** The index of the first of `count` rows whose end (`bottom`, growing with the index) is below `edge`; or `count`. */
export function firstBelow(count: number, bottom: (index: number) => number, edge: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bottom(middle) > edge) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}
