/**
 * The sessions that are shown: what was subscribed to, the events that each view is made of, and what has to be
 * fetched besides: older pages, what holds for the whole of a long session, events that were cut for their frame.
 */
import type { SessionView } from '../model';
import type { EventFrame, History, Welcome } from '../protocol';
import type { LiveStore } from '../store';
import { emptyView, fromHistory, isOutgoing, rebuilt, reduce } from '../store/reduce';
import { cutAddress, remember, STREAMED } from './frames';
import { problemOf } from './problems';

const PAGE = 200;
const CACHED_VIEWS = 12;
const CAUGHT_UP_MS = 4_000;
const AGAIN_MS = 2_000;
const BACKGROUND = 'session_state,usage,artifact,publication,notebook,plan,user_message';
const BACKGROUND_PAGES = 10;

interface Followed {
  /** How many views show it. */
  users: number;
  /** The events that the view is made of, without partial ones that a final event has replaced. */
  frames: EventFrame[];
  /** Events from before those: see `rebuilt`. */
  background: EventFrame[];
  /** Counts how often all was thrown away: an answer to a question of before is then worth nothing. */
  generation: number;
  subscribed: boolean;
  /** The server ended it, for a reason that asking again does not change. */
  ended: boolean;
  /** After a reconnection: what is older than this (server clock, milliseconds) had been missed. */
  missedUntil: number | null;
  missed: number;
  usedAt: number;
}

/** What this needs of the client. */
export interface Means {
  send(frame: object): boolean;
  json(path: string): Promise<unknown>;
  /** Events were taken in. */
  seen(frames: readonly EventFrame[]): void;
}

export class Following {
  /** How many sessions one connection may follow; the list of sessions is one more. */
  limit = 63;
  private readonly all = new Map<string, Followed>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private uses = 0;

  constructor(
    private readonly store: LiveStore,
    private readonly means: Means
  ) {}

  dispose(): void {
    this.timers.forEach(timer => clearTimeout(timer));
    this.timers.clear();
    this.all.clear();
  }

  view(id: string): SessionView {
    return this.store.current().views[id] ?? emptyView(id);
  }

  change(id: string, how: (view: SessionView) => SessionView, streamed = false): void {
    this.store.update(state => {
      const before = state.views[id] ?? emptyView(id);
      const after = how(before);
      return after === before ? state : { ...state, views: { ...state.views, [id]: after } };
    }, streamed);
  }

  /** Whether events of this session arrive. */
  has(id: string): boolean {
    return this.all.get(id)?.subscribed === true;
  }

  // --- who looks at what ---

  open(id: string): () => void {
    const followed = this.all.get(id) ?? {
      users: 0,
      frames: [],
      background: [],
      generation: 0,
      subscribed: false,
      ended: false,
      missedUntil: null,
      missed: 0,
      usedAt: 0
    };
    this.all.set(id, followed);
    followed.users += 1;
    followed.usedAt = ++this.uses;
    if (followed.users === 1) {
      followed.ended = false;
      if (this.view(id).loaded !== 'yes') {
        this.change(id, view => ({ ...view, loaded: 'loading', problem: null }));
      }
      this.sync();
    }
    let open = true;
    return () => {
      if (open) {
        open = false;
        followed.users -= 1;
        this.sync();
        this.forgetOld();
      }
    };
  }

  /** Subscribe to what is shown, the newest first where the server's limit does not allow all of it. */
  private sync(): void {
    const shown = [...this.all].filter(([, one]) => one.users > 0 && !one.ended);
    shown.sort(([, a], [, b]) => b.usedAt - a.usedAt);
    const wanted = new Set(shown.slice(0, this.limit).map(([id]) => id));
    for (const [id, followed] of this.all) {
      if (followed.subscribed && !wanted.has(id)) {
        followed.subscribed = false;
        followed.missedUntil = null;
        this.means.send({ type: 'unsubscribe', chatId: id });
      }
    }
    for (const id of wanted) {
      const followed = this.all.get(id);
      if (followed !== undefined && !followed.subscribed) {
        const view = this.view(id);
        const after = view.loaded === 'yes' ? { after: view.lastSeq } : {};
        followed.subscribed = this.means.send({ type: 'subscribe', chatId: id, ...after });
      }
    }
  }

  /** What was closed long ago is fetched again when it is opened again. */
  private forgetOld(): void {
    const closed = [...this.all].filter(([, one]) => one.users === 0);
    closed.sort(([, a], [, b]) => b.usedAt - a.usedAt);
    for (const [id] of closed.slice(CACHED_VIEWS)) {
      this.all.delete(id);
      this.store.update(state => {
        const { [id]: _, ...views } = state.views;
        return { ...state, views };
      });
    }
  }

  // --- the connection ---

  /** There is a new connection, on which nothing is followed yet. */
  welcome(welcome: Welcome, again: boolean): void {
    this.limit = Math.max(1, welcome.limits.subscriptions - 1);
    const at = Date.parse(welcome.ts);
    for (const [id, followed] of this.all) {
      followed.subscribed = false;
      followed.ended = false;
      followed.missed = 0;
      followed.missedUntil = again && followed.users > 0 && this.view(id).loaded === 'yes' ? at : null;
    }
    this.sync();
  }

  /** The log was replaced: what is known of it is worth nothing. Without `id` that goes for all sessions. */
  reset(id?: string): void {
    for (const [one, followed] of this.all) {
      if (id === undefined || id === one) {
        followed.generation += 1;
        followed.frames = [];
        followed.background = [];
        followed.subscribed = false;
        followed.missedUntil = null;
        const loaded = followed.users > 0 ? 'loading' : 'no';
        this.change(one, view => ({ ...emptyView(one), loaded, items: view.items.filter(isOutgoing) }));
      }
    }
    this.sync();
  }

  gone(id: string): void {
    const followed = this.all.get(id);
    if (followed !== undefined) {
      followed.ended = true;
      followed.subscribed = false;
      this.change(id, view => ({ ...view, loaded: 'gone', live: null, runStartedAt: null }));
      this.sync();
    }
  }

  /** The server follows a session no longer, or did not begin to. */
  ended(id: string, error: unknown): void {
    const followed = this.all.get(id);
    const problem = problemOf(error);
    if (followed === undefined) {
      return;
    }
    if (problem.code === 'not_found') {
      this.gone(id);
      return;
    }
    const { generation } = followed;
    followed.subscribed = false;
    followed.ended = true;
    if (problem.retryable || problem.code === 'rate_limited' || problem.code === 'capacity') {
      this.later(AGAIN_MS, () => {
        if (this.all.get(id)?.generation === generation) {
          followed.ended = false;
          this.sync();
        }
      });
    } else {
      this.change(id, view => ({ ...view, loaded: 'failed', problem }));
    }
  }

  // --- what comes in ---

  events(id: string, batch: readonly EventFrame[]): void {
    const followed = this.all.get(id);
    if (followed === undefined || this.view(id).loaded !== 'yes') {
      return; // let go of meanwhile, or of before a reset
    }
    const { lastSeq } = this.view(id);
    const fresh = batch.filter(frame => frame.seq > lastSeq);
    if (fresh.length > 0) {
      remember(followed.frames, fresh);
      const streamed = fresh.every(frame => STREAMED.has(frame.type));
      this.change(id, view => reduce(view, fresh, Date.now()), streamed);
      this.countMissed(id, followed, fresh);
      this.fetchCut(id, followed, fresh);
    }
    this.means.seen(batch);
  }

  history(id: string, history: History): void {
    const followed = this.all.get(id);
    if (followed === undefined) {
      return;
    }
    followed.generation += 1;
    followed.frames = history.messages.slice();
    followed.background = [];
    this.change(id, view => fromHistory(view, history, Date.now()));
    this.means.seen(followed.frames);
    this.fetchCut(id, followed, followed.frames);
    if (history.hasMore) {
      void this.fetchBackground(id, followed).catch(() => undefined); // it is asked for again with the next history
    }
  }

  private countMissed(id: string, followed: Followed, fresh: readonly EventFrame[]): void {
    const { missedUntil } = followed;
    if (missedUntil === null) {
      return;
    }
    const before = followed.missed;
    for (const frame of fresh) {
      const at = frame.ts === undefined ? NaN : Date.parse(frame.ts);
      if (at > missedUntil) {
        followed.missedUntil = null;
        break;
      }
      followed.missed += Number.isNaN(at) ? 0 : 1;
    }
    if (followed.missed > before) {
      const caughtUp = { events: followed.missed, at: Date.now() };
      this.change(id, view => ({ ...view, caughtUp }));
      this.later(CAUGHT_UP_MS, () =>
        this.change(id, view => (view.caughtUp === caughtUp ? { ...view, caughtUp: null } : view))
      );
    }
  }

  // --- what is fetched besides ---

  async loadEarlier(id: string): Promise<void> {
    const view = this.view(id);
    const followed = this.all.get(id);
    if (!view.hasMore || view.loadingEarlier || followed === undefined) {
      return;
    }
    const { generation } = followed;
    this.change(id, known => ({ ...known, loadingEarlier: true }));
    try {
      const path = `${address(id)}/messages?before=${view.firstSeq}&limit=${PAGE}`;
      const page = (await this.means.json(path)) as EventFrame[];
      if (followed.generation === generation && this.all.get(id) === followed) {
        const first = followed.frames[0]?.seq ?? Infinity;
        const older = page.filter(frame => frame.seq < first);
        followed.frames = [...older, ...followed.frames];
        this.rebuild(id, followed);
        // The first event of a log is its number 1; a page may be cut short by its size.
        const hasMore = older.length > 0 && (older[0]?.seq ?? 1) > 1;
        this.change(id, known => ({ ...known, hasMore }));
        this.fetchCut(id, followed, older);
      }
    } finally {
      this.change(id, known => (known.loadingEarlier ? { ...known, loadingEarlier: false } : known));
    }
  }

  /** A long session is shown from near its end; what it has made and used is told by events from before. */
  private async fetchBackground(id: string, followed: Followed): Promise<void> {
    const { generation } = followed;
    const found: EventFrame[] = [];
    const until = followed.frames[0]?.seq ?? 0;
    for (let page = 0, more = true; more && page < BACKGROUND_PAGES; page++) {
      const after = found[found.length - 1]?.seq ?? 0;
      const path = `${address(id)}/events?after=${after}&limit=1000&types=${BACKGROUND}`;
      const answer = (await this.means.json(path)) as { events: EventFrame[]; more: boolean };
      found.push(...answer.events.filter(frame => frame.seq < until));
      more = answer.more && (answer.events[answer.events.length - 1]?.seq ?? Infinity) < until;
    }
    if (followed.generation === generation && this.all.get(id) === followed) {
      followed.background = found;
      this.rebuild(id, followed);
    }
  }

  /** An event that was too large for a frame came with its texts cut: its whole takes its place. */
  private fetchCut(id: string, followed: Followed, frames: readonly EventFrame[]): void {
    const { generation } = followed;
    for (const cut of frames) {
      const path = cutAddress(cut);
      if (path !== null) {
        const replace = (whole: unknown) => {
          const at = followed.frames.indexOf(cut);
          if (followed.generation === generation && at >= 0) {
            followed.frames[at] = whole as EventFrame;
            this.rebuild(id, followed);
          }
        };
        this.means.json(path).then(replace, () => undefined); // the cut one stays
      }
    }
  }

  private rebuild(id: string, followed: Followed): void {
    this.change(id, view => rebuilt(view, followed.frames, followed.background, Date.now()));
  }

  private later(ms: number, what: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      what();
    }, ms);
    this.timers.add(timer);
  }
}

function address(id: string): string {
  return `api/chats/${encodeURIComponent(id)}`;
}
