/** Where in a session its publication is shown. */
import type { Item, ResultItem, SessionView } from '../../model';

/** The result below which it stands: of the newest research that came to a verdict, else the newest good one. */
export function publicationPlace(items: readonly Item[]): ResultItem | null {
  const good = (item: Item): item is ResultItem => item.kind === 'result' && item.success && !item.publishing;
  return (
    items.findLast((item): item is ResultItem => good(item) && item.verdict !== null) ??
    items.findLast(good) ??
    null
  );
}

/** Whether there is anything to show: it was published, or a project came to a result. */
export function hasPlace({ publication, artifacts, items }: SessionView): boolean {
  return publication !== null || (artifacts.repo !== undefined && publicationPlace(items) !== null);
}
