/**
 * How the events of a session's log make its view. Pure and idempotent: an event that the view has already (`seq` not
 * after `lastSeq`) changes nothing, so a frame may come twice.
 *
 * A batch of frames is reduced in one pass over a draft whose list of items is copied once; text that streams in is
 * appended to one item, which is found from the end. The cost of a token does not grow with the answer or the log.
 */
import type { Item, SessionView, Status } from '../model';
import type * as p from '../protocol';
import { Draft, pendingOf } from './draft';
import { statusOf } from './status';
import { emptyView, isOutgoing } from './view';

export { emptyView, isOutgoing, withOutgoing, withoutOutgoing } from './view';

/** The view after these events. `now` is this machine's clock in milliseconds. */
export function reduce(view: SessionView, frames: readonly p.EventFrame[], now: number): SessionView {
  const draft = new Draft(view, now);
  for (const frame of frames) {
    draft.take(frame);
  }
  return draft.done();
}

/** The view that a `history` frame shows; what was typed but not yet acknowledged stays. */
export function fromHistory(view: SessionView, history: p.History, now: number): SessionView {
  const blank = {
    ...emptyView(view.id),
    items: view.items.filter(isOutgoing),
    caughtUp: view.caughtUp,
    hasMore: history.hasMore
  };
  const draft = new Draft(blank, now);
  history.messages.forEach(frame => draft.take(frame));
  draft.settle(statusOf(history.state));
  const shown = draft.done();
  return {
    ...shown,
    loaded: 'yes',
    items: keep(view.items, shown.items.map(unseen)),
    queue: pendingOf(history.queue),
    firstSeq: history.fromSeq,
    lastSeq: Math.max(shown.lastSeq, history.throughSeq),
    hasMore: history.hasMore
  };
}

/** What a row of history cannot know: when its thinking began. */
function unseen(item: Item): Item {
  return item.kind === 'thinking' && item.startedAt !== null
    ? { ...item, startedAt: null, endedAt: null }
    : item;
}

/**
 * The view once it is made of more than before: of older events, or of whole ones where a cut one had come. `frames`
 * are all that are to be shown, in order. `background` are events from before them that have no rows, but from which
 * comes what holds for all of the session: artifacts, publication, plan, limits, what the run has used, when it began.
 */
export function rebuilt(
  view: SessionView,
  frames: readonly p.EventFrame[],
  background: readonly p.EventFrame[],
  now: number
): SessionView {
  const blank = { ...emptyView(view.id), items: view.items.filter(isOutgoing) };
  const first = frames[0]?.seq ?? Infinity;
  const before = background.filter(frame => frame.seq < first);
  const rows = finish({ ...blank, hasMore: view.hasMore && first > 1 }, frames, view.status, now);
  const whole = before.length === 0 ? rows : finish(blank, [...before, ...frames], view.status, now);
  const shown = new Set(rows.items.map(item => item.key));
  const isShown = (item: Item) => (isNews(item) ? item.seq >= first : shown.has(item.key));
  const items = whole.items.filter(isShown).map(unseen);
  return {
    ...view,
    items: keep(view.items, items),
    runId: whole.runId ?? view.runId,
    title: whole.title ?? view.title,
    plan: whole.plan ?? view.plan,
    artifacts: whole.artifacts,
    publication: whole.publication ?? view.publication,
    notebook: whole.notebook ?? view.notebook,
    before: whole.before,
    spent: whole.spent,
    limits: whole.limits,
    runStartedAt: whole.runStartedAt,
    waitingFor: whole.waitingFor,
    firstSeq: frames[0]?.seq ?? view.firstSeq
  };
}

/** What is new about a publication, or about whose hand the notebook is in, is known only from what was before. */
function isNews(item: Item): boolean {
  return (
    item.kind === 'publication' ||
    (item.kind === 'notice' && (item.notice === 'taken' || item.notice === 'given'))
  );
}

function finish(
  blank: SessionView,
  frames: readonly p.EventFrame[],
  status: Status,
  now: number
): SessionView {
  const draft = new Draft(blank, now);
  frames.forEach(frame => draft.take(frame));
  draft.settle(status);
  return draft.done();
}

/** The new items, each as the old object when nothing about it is new: a memoised row then stays as it is. */
function keep(old: readonly Item[], items: readonly Item[]): readonly Item[] {
  const known = new Map(old.map(item => [item.key, item]));
  return items.map(item => {
    const before = known.get(item.key);
    if (before === undefined || before.kind !== item.kind) {
      return item;
    }
    const made =
      item.kind === 'thinking' && before.kind === 'thinking'
        ? { ...item, startedAt: before.startedAt, endedAt: before.endedAt }
        : item;
    return JSON.stringify(before) === JSON.stringify(made) ? before : made;
  });
}
