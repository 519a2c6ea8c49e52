/** The client: REST for what is asked once, the socket for everything that lives. */
import type {
  Answer,
  Client,
  Health,
  Mode,
  Model,
  NewChat,
  NewResearch,
  Persona,
  Room,
  Server,
  Template
} from '../client';
import { RequestFailed } from '../client';
import type { ChatInfo, SessionView, State, UserItem } from '../model';
import type { AnyControl, EventFrame, Frame, Welcome } from '../protocol';
import type { LiveStore } from '../store';
import { emptyView, fromHistory, reduce, withEarlier, withOutgoing, withoutOutgoing } from '../store/reduce';
import { statusOf } from '../store/status';
import { Link } from './link';
import { Outbox } from './outbox';
import { NOT_SENT, problemOf } from './problems';

const PAGE = 200;
const CACHED_VIEWS = 12;
const CAUGHT_UP_MS = 4_000;
/** Frames that only make text longer: they may wait for the next flush. */
const STREAMED = new Set(['token', 'thinking', 'tool_input', 'tool_output']);

interface Followed {
  users: number;
  /** The events that the view is made of, without partial ones that a final event has replaced. */
  frames: EventFrame[];
  /** While it catches up after a reconnection: up to where, and what has come. */
  missed: { until: number; events: number } | null;
  closedAt: number;
}

export interface Options {
  /** Who this is, for the server's log. */
  name?: string;
  random?: () => number;
}

/** A new id: 128 random bits. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('');
}

export class LiveClient implements Client {
  private readonly link: Link;
  private readonly outbox: Outbox;
  private readonly followed = new Map<string, Followed>();
  private archived = false;
  private first = true;

  constructor(
    private readonly server: Server,
    private readonly store: LiveStore,
    options: Options = {}
  ) {
    this.outbox = new Outbox(frame => this.link.send(frame));
    this.link = new Link(
      server,
      options.name ?? 'panel',
      {
        onWelcome: welcome => this.welcome(welcome),
        onFrames: frames => this.take(frames),
        onState: connection => this.store.update(state => ({ ...state, connection }))
      },
      options.random
    );
  }

  // --- the connection ---

  start(): void {
    this.link.start();
  }

  dispose(): void {
    this.link.dispose();
    this.outbox.dispose();
    this.store.dispose();
  }

  retryNow(): void {
    this.link.now();
  }

  private welcome(welcome: Welcome): void {
    this.store.update(state => ({ ...state, user: welcome.user }));
    this.link.send({ type: 'subscribe', sessions: true });
    for (const [id, followed] of this.followed) {
      if (followed.users > 0) {
        this.subscribe(id);
      }
    }
    this.outbox.resend();
    if (!this.first && this.archived) {
      void this.loadArchived().catch(() => undefined);
    }
    this.first = false;
  }

  private subscribe(id: string): void {
    const view = this.view(id);
    const after = view.loaded === 'yes' ? view.lastSeq : null;
    const followed = this.followed.get(id);
    if (followed !== undefined) {
      followed.missed = after === null ? null : { until: 0, events: 0 };
    }
    this.link.send(
      after === null ? { type: 'subscribe', chatId: id } : { type: 'subscribe', chatId: id, after }
    );
  }

  // --- what comes in ---

  private take(frames: readonly Frame[]): void {
    const events = new Map<string, EventFrame[]>();
    for (const frame of frames) {
      if (isEvent(frame)) {
        const batch = events.get(frame.chatId);
        if (batch === undefined) {
          events.set(frame.chatId, [frame]);
        } else {
          batch.push(frame);
        }
      } else {
        this.events(events);
        this.control(frame);
      }
    }
    this.events(events);
  }

  private events(batches: Map<string, EventFrame[]>): void {
    for (const [id, batch] of batches) {
      const followed = this.followed.get(id);
      if (followed === undefined) {
        continue; // let go of meanwhile
      }
      remember(followed.frames, batch);
      const streamed = batch.every(frame => STREAMED.has(frame.type));
      this.change(id, view => reduce(view, batch, Date.now()), streamed);
      this.outbox.seen(batch);
      this.countMissed(id, followed, batch);
    }
    batches.clear();
  }

  private countMissed(id: string, followed: Followed, batch: readonly EventFrame[]): void {
    const { missed } = followed;
    if (missed === null || missed.until === 0) {
      return;
    }
    missed.events += batch.filter(frame => frame.seq <= missed.until && !STREAMED.has(frame.type)).length;
    if ((batch[batch.length - 1]?.seq ?? 0) < missed.until) {
      return;
    }
    followed.missed = null;
    const { events } = missed;
    if (events > 0) {
      const at = Date.now();
      this.change(id, view => ({ ...view, caughtUp: { events, at } }));
      setTimeout(
        () => this.change(id, view => (view.caughtUp?.at === at ? { ...view, caughtUp: null } : view)),
        CAUGHT_UP_MS
      );
    }
  }

  private control(frame: AnyControl): void {
    switch (frame.type) {
      case 'history': {
        const followed = this.followed.get(frame.chatId ?? '');
        if (followed !== undefined && frame.chatId) {
          followed.frames = (frame.messages as EventFrame[]).slice();
          this.change(frame.chatId, view => fromHistory(view, frame, Date.now()));
          this.outbox.seen(followed.frames);
        }
        return;
      }
      case 'ack':
        this.outbox.acked(frame);
        return;
      case 'error':
        this.refused(frame);
        return;
      case 'sessions':
        this.list(frame.sessions);
        return;
      case 'session':
        this.store.update(state => withSession(state, frame.chatId, frame.deleted ? null : frame.session));
        if (frame.deleted) {
          this.gone(frame.chatId);
        }
        return;
      case 'reset':
        this.reset(frame.chatId);
        return;
      default:
        return; // welcome, pong, bye: the link's business
    }
  }

  private refused(frame: AnyControl & { type: 'error' }): void {
    const problem = problemOf(frame);
    if (frame.id && this.outbox.refused(frame.id, problem)) {
      return;
    }
    if (frame.chatId) {
      if (problem.code === 'not_found') {
        this.gone(frame.chatId);
      } else {
        this.change(frame.chatId, view => ({ ...view, loaded: 'failed', problem }));
      }
    }
  }

  private gone(id: string): void {
    if (this.followed.has(id)) {
      this.change(id, view => ({ ...view, loaded: 'gone', live: null, runStartedAt: null }));
    }
  }

  private list(sessions: readonly ChatInfo[]): void {
    const listed = Object.fromEntries(sessions.map(one => [one.id, one]));
    this.store.update(state => {
      const archived = Object.values(state.sessions ?? {}).filter(one => one.archived && !listed[one.id]);
      return { ...state, sessions: { ...Object.fromEntries(archived.map(one => [one.id, one])), ...listed } };
    });
    for (const [id, followed] of this.followed) {
      const until = listed[id]?.lastSeq ?? 0;
      if (followed.missed !== null) {
        followed.missed = until > this.view(id).lastSeq ? { until, events: 0 } : null;
      }
    }
  }

  /** The log was replaced: what is known of it is worth nothing. */
  private reset(id?: string): void {
    const ids = id ? [id] : [...this.followed.keys()];
    if (!id) {
      this.store.update(state => ({ ...state, sessions: null }));
      this.link.send({ type: 'subscribe', sessions: true });
    }
    for (const one of ids) {
      const followed = this.followed.get(one);
      if (followed !== undefined) {
        followed.frames = [];
        this.change(one, view => ({
          ...emptyView(one),
          loaded: 'loading',
          items: view.items.filter(isMine)
        }));
        if (followed.users > 0) {
          this.subscribe(one);
        }
      }
    }
  }

  // --- sessions that are shown ---

  private view(id: string): SessionView {
    return this.store.current().views[id] ?? emptyView(id);
  }

  private change(id: string, how: (view: SessionView) => SessionView, streamed = false): void {
    this.store.update(state => {
      const before = state.views[id] ?? emptyView(id);
      const after = how(before);
      return after === before ? state : { ...state, views: { ...state.views, [id]: after } };
    }, streamed);
  }

  open(id: string): () => void {
    const followed = this.followed.get(id) ?? { users: 0, frames: [], missed: null, closedAt: 0 };
    this.followed.set(id, followed);
    followed.users += 1;
    if (followed.users === 1) {
      const known = this.view(id).loaded;
      if (known !== 'yes') {
        this.change(id, view => ({ ...view, loaded: 'loading', problem: null }));
      }
      this.subscribe(id);
    }
    let open = true;
    return () => {
      if (!open) {
        return;
      }
      open = false;
      followed.users -= 1;
      if (followed.users === 0) {
        followed.closedAt = Date.now();
        this.link.send({ type: 'unsubscribe', chatId: id });
        this.forgetOld();
      }
    };
  }

  /** What was closed long ago is fetched again when it is opened again. */
  private forgetOld(): void {
    const closed = [...this.followed].filter(([, one]) => one.users === 0);
    closed.sort(([, a], [, b]) => b.closedAt - a.closedAt);
    for (const [id] of closed.slice(CACHED_VIEWS)) {
      this.followed.delete(id);
      this.store.update(state => {
        const { [id]: _, ...views } = state.views;
        return { ...state, views };
      });
    }
  }

  async loadEarlier(id: string): Promise<void> {
    const view = this.view(id);
    const followed = this.followed.get(id);
    if (!view.hasMore || view.loadingEarlier || followed === undefined) {
      return;
    }
    this.change(id, known => ({ ...known, loadingEarlier: true }));
    try {
      const path = `api/chats/${encodeURIComponent(id)}/messages?before=${view.firstSeq}&limit=${PAGE}`;
      const older = (await this.json(path)) as EventFrame[];
      followed.frames = [...older, ...followed.frames.filter(frame => frame.seq >= view.firstSeq)];
      this.change(id, known => withEarlier(known, followed.frames, older.length >= PAGE, Date.now()));
    } catch (error) {
      this.change(id, known => ({ ...known, loadingEarlier: false }));
      throw error;
    }
  }

  async loadArchived(): Promise<void> {
    const rows = (await this.json('api/chats?archived=true&limit=1000')) as ChatInfo[];
    this.archived = true;
    this.store.update(state => ({
      ...state,
      sessions: { ...Object.fromEntries(rows.map(row => [row.id, row])), ...state.sessions }
    }));
  }

  // --- commands ---

  async create(chat: NewChat = {}, key: string = newId()): Promise<ChatInfo> {
    return (await this.json('api/chats', chat, key)) as ChatInfo;
  }

  async research(research: NewResearch, key: string): Promise<string> {
    const { title, persona, model, ...command } = research;
    const { id } = await this.create({ title, persona, ...(model ? { model } : {}) }, key);
    await this.json(
      `api/chats/${encodeURIComponent(id)}/research`,
      { ...command, ...(model ? { model } : {}) },
      `${key}.research`
    );
    return id;
  }

  async say(id: string, content: string, mode: Mode = 'queue'): Promise<void> {
    await this.saying(id, newId(), content, mode);
  }

  async resend(id: string, messageId: string): Promise<void> {
    const item = this.view(id).items.find(one => one.kind === 'user' && one.id === messageId);
    if (item?.kind === 'user' && item.sending === 'failed') {
      await this.saying(id, messageId, item.content, (item.mode as Mode | undefined) ?? 'queue');
    }
  }

  forget(id: string, messageId: string): void {
    this.outbox.drop(messageId);
    this.change(id, view => withoutOutgoing(view, messageId));
  }

  private async saying(chatId: string, id: string, content: string, mode: Mode): Promise<void> {
    const item: UserItem = {
      kind: 'user',
      key: `u:${id}`,
      seq: 0,
      at: Date.now(),
      id,
      content,
      by: this.store.current().user?.name ?? '',
      mode,
      sending: 'pending'
    };
    this.change(chatId, view => withOutgoing(view, item));
    try {
      await this.command({ type: 'chat', id, chatId, content, mode });
    } catch (error) {
      const problem = error instanceof RequestFailed ? error.problem : NOT_SENT;
      this.change(chatId, view => withOutgoing(view, { ...item, sending: 'failed', problem }));
      throw error;
    }
    // A queued message is shown by the queue until it is taken.
    this.change(chatId, view => withoutOutgoing(view, id));
  }

  async stop(chatId: string, how: 'graceful' | 'now' = 'graceful'): Promise<void> {
    await this.command({ type: 'stop', chatId, how });
  }

  async respond(chatId: string, requestId: string, answer: Answer): Promise<void> {
    await this.command({ type: 'respond', chatId, requestId, ...answer });
  }

  async cancelQueued(chatId: string, messageId: string): Promise<void> {
    await this.command({ type: 'queue.cancel', chatId, messageId });
  }

  async updateQueued(chatId: string, messageId: string, content: string): Promise<void> {
    await this.command({ type: 'queue.update', chatId, messageId, content });
  }

  async set(
    chatId: string,
    change: { title?: string; model?: string; persona?: string; archived?: boolean }
  ): Promise<void> {
    await this.command({ type: 'session.set', chatId, ...change });
    if (change.archived !== undefined) {
      const { archived } = change;
      this.store.update(state => {
        const known = state.sessions?.[chatId];
        return known ? withSession(state, chatId, { ...known, archived }) : state;
      });
    }
  }

  async resume(chatId: string): Promise<void> {
    await this.command({ type: 'resume', chatId });
  }

  async fork(chatId: string, at?: number): Promise<string> {
    const ack = await this.command({ type: 'fork', chatId, ...(at === undefined ? {} : { at }) });
    return ack.fork ?? chatId;
  }

  async delete(id: string): Promise<void> {
    await this.json(`api/chats/${encodeURIComponent(id)}`, undefined, undefined, 'DELETE');
    this.store.update(state => withSession(state, id, null));
    this.gone(id);
  }

  async post(room: string, content: string, kind = 'note', agent?: string): Promise<void> {
    const chatId = room.startsWith('room:') ? room : `room:${room}`;
    const user = this.store.current().user;
    const who = agent ?? user?.display ?? user?.name ?? 'panel';
    await this.command({ type: 'post', chatId, agent: who, kind, content });
  }

  private command(frame: { type: string; chatId: string; id?: string; [field: string]: unknown }) {
    return this.outbox.send({ ...frame, id: frame.id ?? newId() });
  }

  // --- what there is ---

  templates = (): Promise<Template[]> => this.json('api/templates') as Promise<Template[]>;
  personas = (): Promise<Persona[]> => this.json('api/personas') as Promise<Persona[]>;
  models = (): Promise<Model[]> => this.json('api/models') as Promise<Model[]>;
  health = (): Promise<Health> => this.json('api/health') as Promise<Health>;
  rooms = (): Promise<Room[]> => this.json('api/rooms') as Promise<Room[]>;
  url = (path: string): string => this.server.url(path);

  async blob(id: string, ref: string): Promise<Blob> {
    // An event that was cut for its frame names the address of the whole; all else is a plain reference.
    const path = ref.includes('/')
      ? ref
      : `api/chats/${encodeURIComponent(id)}/blobs/${encodeURIComponent(ref)}`;
    return (await this.answer(path)).blob();
  }

  private async json(path: string, body?: object, key?: string, method?: string): Promise<unknown> {
    const response = await this.answer(path, body, key, method);
    return response.status === 204 ? null : response.json();
  }

  private async answer(path: string, body?: object, key?: string, method?: string): Promise<Response> {
    const init: RequestInit = { method: method ?? (body === undefined ? 'GET' : 'POST') };
    if (body !== undefined) {
      init.body = JSON.stringify(body);
    }
    if (key !== undefined) {
      init.headers = { 'Idempotency-Key': key };
    }
    let response: Response;
    try {
      response = await this.server.request(path, init);
    } catch {
      throw new RequestFailed(NOT_SENT);
    }
    if (!response.ok) {
      throw new RequestFailed(problemOf(await response.json().catch(() => null), response.status));
    }
    return response;
  }
}

function isMine(item: SessionView['items'][number]): boolean {
  return item.kind === 'user' && item.sending !== undefined;
}

function isEvent(frame: Frame): frame is EventFrame {
  return 'seq' in frame && typeof frame.seq === 'number' && frame.type !== 'ack' && 'chatId' in frame;
}

/** Add a batch to the events of a view; partial ones go when their final event comes. */
function remember(frames: EventFrame[], batch: readonly EventFrame[]): void {
  for (const frame of batch) {
    if (frame.seq <= (frames[frames.length - 1]?.seq ?? 0)) {
      continue;
    }
    const range = 'replaces' in frame ? (frame.replaces as [number, number] | undefined) : undefined;
    if (range !== undefined) {
      let from = frames.length;
      while (from > 0 && (frames[from - 1] as EventFrame).seq >= range[0]) {
        from -= 1;
      }
      const kept = frames.splice(from).filter(one => !isPartOf(one, frame));
      frames.push(...kept);
    }
    frames.push(frame);
  }
}

function isPartOf(partial: EventFrame, final: EventFrame): boolean {
  if (!STREAMED.has(partial.type) || partial.ts !== undefined) {
    return false;
  }
  const a = partial as { itemId?: string; toolId?: string };
  const b = final as { itemId?: string; toolId?: string };
  return (
    (a.itemId !== undefined && a.itemId === b.itemId) || (a.toolId !== undefined && a.toolId === b.toolId)
  );
}

function withSession(state: State, id: string, session: ChatInfo | null | undefined): State {
  const { [id]: known, ...others } = state.sessions ?? {};
  if (!session) {
    return known ? { ...state, sessions: others } : state;
  }
  const view = state.views[id];
  const views =
    view && view.loaded !== 'yes' && view.status === 'unknown'
      ? { ...state.views, [id]: { ...view, status: statusOf(session.state) } }
      : state.views;
  return { ...state, views, sessions: { ...state.sessions, [id]: session } };
}
