/** The client: REST for what is asked once, the socket for everything that lives. */
import type {
  Answer,
  AvailableRepository,
  Checkpoint,
  CheckpointDiff,
  Client,
  Comment,
  GitHubConnect,
  GitHubStatus,
  Health,
  LiveNotebook,
  Mode,
  Model,
  NewChat,
  NewResearch,
  NotebookMode,
  NotebookPage,
  Persona,
  Publishable,
  PublishOptions,
  Repository,
  Room,
  Server,
  Template
} from '../client';
import { RequestFailed } from '../client';
import type { ChatInfo, State, UserItem } from '../model';
import { plainLine } from '../plain';
import type { Ack, AnyControl, EventFrame, Frame, Welcome } from '../protocol';
import type { LiveStore } from '../store';
import { withOutgoing, withoutOutgoing } from '../store/reduce';
import { statusOf } from '../store/status';
import { Following } from './following';
import { isEvent } from './frames';
import { Link } from './link';
import { Outbox } from './outbox';
import { NOT_SENT, problemOf } from './problems';

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
  private readonly following: Following;
  private archived = false;
  private first = true;

  constructor(
    private readonly server: Server,
    private readonly store: LiveStore,
    options: Options = {}
  ) {
    const put = (frame: object) => this.link.send(frame);
    this.outbox = new Outbox({ put, lostAt: () => this.link.without() });
    this.following = new Following(store, {
      send: put,
      json: path => this.json(path),
      seen: frames => this.outbox.seen(frames)
    });
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
    this.following.dispose();
    this.store.dispose();
  }

  retryNow(): void {
    this.link.now();
  }

  private welcome(welcome: Welcome): void {
    this.store.update(state => ({ ...state, user: welcome.user }));
    this.outbox.largest = welcome.limits.message;
    this.link.send({ type: 'subscribe', sessions: true });
    this.following.welcome(welcome, !this.first);
    this.outbox.resend();
    if (!this.first && this.archived) {
      void this.loadArchived().catch(() => undefined);
    }
    this.first = false;
  }

  // --- what comes in ---

  private take(frames: readonly Frame[]): void {
    const events = new Map<string, EventFrame[]>();
    const flush = () => {
      events.forEach((batch, id) => this.following.events(id, batch));
      events.clear();
    };
    for (const frame of frames) {
      if (isEvent(frame)) {
        const batch = events.get(frame.chatId);
        if (batch === undefined) {
          events.set(frame.chatId, [frame]);
        } else {
          batch.push(frame);
        }
      } else {
        flush();
        this.control(frame);
      }
    }
    flush();
  }

  private control(frame: AnyControl): void {
    switch (frame.type) {
      case 'history':
        if (frame.chatId) {
          this.following.history(frame.chatId, frame);
        }
        return;
      case 'ack':
        this.outbox.acked(frame);
        return;
      case 'error':
        if (frame.id) {
          this.outbox.refused(frame.id, problemOf(frame));
        } else if (frame.chatId) {
          this.following.ended(frame.chatId, frame);
        } else if (frame.code === 'rate_limited') {
          this.link.send({ type: 'subscribe', sessions: true });
        }
        return;
      case 'sessions':
        this.list(frame.sessions);
        return;
      case 'session':
        this.store.update(state =>
          withSession(state, frame.chatId, frame.deleted || !frame.session ? null : plainInfo(frame.session))
        );
        if (frame.deleted) {
          this.following.gone(frame.chatId);
        }
        return;
      case 'reset':
        if (!frame.chatId) {
          this.store.update(state => ({ ...state, sessions: null }));
          this.link.send({ type: 'subscribe', sessions: true });
        }
        this.following.reset(frame.chatId);
        return;
      default:
        return; // welcome, pong, bye: the link's business
    }
  }

  /** The whole list anew; archived sessions, which are not in it, stay. */
  private list(sessions: readonly ChatInfo[]): void {
    const listed = Object.fromEntries(sessions.map(one => [one.id, plainInfo(one)]));
    this.store.update(state => {
      const archived = Object.values(state.sessions ?? {}).filter(one => one.archived && !listed[one.id]);
      return { ...state, sessions: { ...Object.fromEntries(archived.map(one => [one.id, one])), ...listed } };
    });
  }

  // --- sessions that are shown ---

  open(id: string): () => void {
    return this.following.open(id);
  }

  loadEarlier(id: string): Promise<void> {
    return this.following.loadEarlier(id);
  }

  async loadArchived(): Promise<void> {
    const rows = (await this.json('api/chats?archived=true&limit=1000')) as ChatInfo[];
    this.archived = true;
    this.store.update(state => ({
      ...state,
      sessions: { ...Object.fromEntries(rows.map(row => [row.id, plainInfo(row)])), ...state.sessions }
    }));
  }

  // --- commands ---

  async create(chat: NewChat = {}, key: string = newId()): Promise<ChatInfo> {
    return (await this.json('api/chats', chat, key)) as ChatInfo;
  }

  async research(research: NewResearch, key: string): Promise<string> {
    const { title, persona, model, ...command } = research;
    const { id } = await this.create({ title, persona, ...(model ? { model } : {}) }, key);
    try {
      await this.json(
        `api/chats/${encodeURIComponent(id)}/research`,
        { ...command, ...(model ? { model } : {}) },
        `${key}.research`
      );
    } catch (error) {
      if (error instanceof RequestFailed && NOTHING_BEGAN.has(error.problem.code)) {
        await this.delete(id).catch(() => undefined); // an empty session would be left behind
      }
      throw error;
    }
    return id;
  }

  async say(id: string, content: string, mode: Mode = 'queue'): Promise<void> {
    await this.saying(id, newId(), content, mode);
  }

  async resend(id: string, messageId: string): Promise<void> {
    const item = this.following.view(id).items.find(one => one.kind === 'user' && one.id === messageId);
    if (item?.kind === 'user' && item.sending === 'failed') {
      await this.saying(id, messageId, item.content, (item.mode as Mode | undefined) ?? 'queue');
    }
  }

  forget(id: string, messageId: string): void {
    this.outbox.drop(messageId);
    this.following.change(id, view => withoutOutgoing(view, messageId));
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
    this.following.change(chatId, view => withOutgoing(view, item));
    let ack;
    try {
      ack = await this.command({ type: 'chat', id, chatId, content, mode });
    } catch (error) {
      const problem = error instanceof RequestFailed ? error.problem : NOT_SENT;
      this.following.change(chatId, view =>
        // It may have been forgotten meanwhile.
        view.items.some(known => known.key === item.key)
          ? withOutgoing(view, { ...item, sending: 'failed', problem })
          : view
      );
      throw error;
    }
    // A queued message is shown by the queue until it is taken; any other gives way to the event that is on its way.
    const { lastSeq } = this.following.view(chatId);
    if (ack.queued || !this.following.has(chatId) || (ack.seq ?? 0) <= lastSeq) {
      this.following.change(chatId, view => withoutOutgoing(view, id));
    }
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

  async fork(chatId: string, at?: number, commit?: string): Promise<string> {
    const from = { ...(at === undefined ? {} : { at }), ...(commit === undefined ? {} : { commit }) };
    const ack = await this.command({ type: 'fork', chatId, ...from });
    return ack.fork ?? chatId;
  }

  async delete(id: string): Promise<void> {
    await this.json(`api/chats/${encodeURIComponent(id)}`, undefined, undefined, 'DELETE');
    this.store.update(state => withSession(state, id, null));
    this.following.gone(id);
  }

  async post(room: string, content: string, kind = 'note', agent?: string): Promise<void> {
    const chatId = room.startsWith('room:') ? room : `room:${room}`;
    const user = this.store.current().user;
    const who = agent ?? user?.display ?? user?.name ?? 'panel';
    await this.command({ type: 'post', chatId, agent: who, kind, content });
  }

  // --- publishing ---

  publish(chatId: string, options: PublishOptions = {}): Promise<Ack> {
    return this.command({ type: 'publish', chatId, ...options });
  }

  async publishable(id: string): Promise<Publishable | null> {
    const answer = (await this.json(`${chatAt(id)}/publication`)) as Partial<Publishable>;
    return answer.state === 'local' ? (answer as Publishable) : null;
  }

  async refreshPublication(id: string): Promise<void> {
    await this.json(`${chatAt(id)}/publication/refresh`, {});
  }

  async comments(id: string): Promise<Comment[]> {
    return (await this.json(`${chatAt(id)}/publication/comments`)) as Comment[];
  }

  async handComments(id: string, ids: readonly (string | number)[], note?: string): Promise<void> {
    await this.json(`${chatAt(id)}/publication/comments`, { ids, ...(note ? { note } : {}) }, newId());
  }

  // --- the notebook ---

  notebook(id: string): Promise<LiveNotebook> {
    return this.json(`${chatAt(id)}/notebook`) as Promise<LiveNotebook>;
  }

  openNotebook(id: string, mode: NotebookMode): Promise<NotebookPage> {
    return this.json(`${chatAt(id)}/notebook/open`, { mode }) as Promise<NotebookPage>;
  }

  async notebookAlive(url: string): Promise<boolean> {
    try {
      const health = new URL('health', new URL(url, this.server.url('')));
      return (await fetch(health, { cache: 'no-store', credentials: 'same-origin' })).ok;
    } catch {
      return false;
    }
  }

  async takeNotebook(chatId: string): Promise<void> {
    await this.command({ type: 'notebook.take', chatId });
  }

  async giveNotebook(chatId: string): Promise<void> {
    await this.command({ type: 'notebook.give', chatId });
  }

  async interruptNotebook(id: string): Promise<void> {
    await this.json(`${chatAt(id)}/notebook/interrupt`, {});
  }

  async restartNotebook(id: string, what: 'kernel' | 'editor'): Promise<void> {
    await this.json(`${chatAt(id)}/notebook/restart`, { what });
  }

  async closeNotebook(id: string): Promise<void> {
    await this.json(`${chatAt(id)}/notebook/close`, {});
  }

  checkpoints(id: string): Promise<Checkpoint[]> {
    return this.json(`${chatAt(id)}/checkpoints`) as Promise<Checkpoint[]>;
  }

  checkpoint(id: string, sha: string, against?: string): Promise<CheckpointDiff> {
    const query = against === undefined ? '' : `?against=${encodeURIComponent(against)}`;
    return this.json(
      `${chatAt(id)}/checkpoints/${encodeURIComponent(sha)}${query}`
    ) as Promise<CheckpointDiff>;
  }

  async restoreCheckpoint(id: string, sha: string): Promise<string> {
    const path = `${chatAt(id)}/checkpoints/${encodeURIComponent(sha)}/restore`;
    return ((await this.json(path, {}, newId())) as { commit: string }).commit;
  }

  // --- what is known of GitHub ---

  github = (): Promise<GitHubStatus> => this.json('api/github') as Promise<GitHubStatus>;

  connectGitHub(how: GitHubConnect): Promise<GitHubStatus> {
    return this.json('api/github', how, undefined, 'PUT') as Promise<GitHubStatus>;
  }

  disconnectGitHub(): Promise<GitHubStatus> {
    return this.json('api/github', undefined, undefined, 'DELETE') as Promise<GitHubStatus>;
  }

  repositories = (): Promise<Repository[]> => this.json('api/repos') as Promise<Repository[]>;

  availableRepositories(query: string): Promise<AvailableRepository[]> {
    const path = `api/repos/available?query=${encodeURIComponent(query)}`;
    return this.json(path) as Promise<AvailableRepository[]>;
  }

  addRepository(given: string): Promise<Repository> {
    return this.json('api/repos', { repository: given }) as Promise<Repository>;
  }

  async removeRepository(id: string): Promise<void> {
    await this.json(`api/repos/${encodeURIComponent(id)}`, undefined, undefined, 'DELETE');
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

function chatAt(id: string): string {
  return `api/chats/${encodeURIComponent(id)}`;
}

/** Answers to a research command that say that there was something wrong with it, and that nothing was done. */
const NOTHING_BEGAN = new Set(['bad_message', 'not_found', 'no_model', 'forbidden', 'too_large']);

/** Titles and lines stand in lists, tabs, dialogs and notifications: nothing in them may disturb what is around them. */
function plainInfo(info: ChatInfo): ChatInfo {
  return {
    ...info,
    title: info.title ? plainLine(info.title) : '',
    line: info.line ? plainLine(info.line) : info.line
  };
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
