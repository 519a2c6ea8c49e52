/** Where a scrolled list stays when something is added. */

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

/** Where to scroll to after older items were put before the first one, so that nothing moves for the reader. */
export function afterPrepend(before: Scrolled, after: Scrolled): number {
  return before.scrollTop + (after.scrollHeight - before.scrollHeight);
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
