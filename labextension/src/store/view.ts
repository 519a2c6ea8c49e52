/** The view of a session before any event, and the messages in it that the server has not acknowledged. */
import type { Item, Limits, SessionView, Spent, UserItem } from '../model';

export const NOTHING_SPENT: Spent = { tokensIn: 0, tokensOut: 0, cost: null, estimated: false };
export const NO_LIMITS: Limits = { usd: null, minutes: null, turns: null };
export const AT_WORK = new Set(['queued', 'starting', 'running', 'waiting', 'paused', 'stopping']);

/** A session of which nothing is known yet. */
export function emptyView(id: string): SessionView {
  return {
    id,
    loaded: 'no',
    problem: null,
    status: 'unknown',
    reason: null,
    title: null,
    runId: null,
    lastSeq: 0,
    firstSeq: 0,
    hasMore: false,
    loadingEarlier: false,
    items: [],
    plan: null,
    live: null,
    runStartedAt: null,
    spent: NOTHING_SPENT,
    limits: NO_LIMITS,
    queue: [],
    artifacts: {},
    publication: null,
    notebook: null,
    before: null,
    waitingFor: [],
    caughtUp: null
  };
}

/** Put an unacknowledged message at the end, or change it there. */
export function withOutgoing(view: SessionView, item: UserItem): SessionView {
  const at = view.items.findIndex(known => known.key === item.key);
  if (at >= 0 && !isOutgoing(view.items[at] as Item)) {
    return view; // the server has it already
  }
  const items = at >= 0 ? view.items.map((known, i) => (i === at ? item : known)) : [...view.items, item];
  return { ...view, items };
}

/** Take an unacknowledged message away. */
export function withoutOutgoing(view: SessionView, messageId: string): SessionView {
  const items = view.items.filter(item => !(isOutgoing(item) && item.id === messageId));
  return items.length === view.items.length ? view : { ...view, items };
}

/** Messages that the server has not acknowledged. */
export function isOutgoing(item: Item): item is UserItem {
  return item.kind === 'user' && item.sending !== undefined;
}
