/** The connection to the server: REST, one socket, and everything that keeps both honest. */
import type { ChatInfo, Problem } from './model';
import type { Ack, Budget, Publish } from './protocol';

/** How this client reaches the server. `path` is below `{base_url}postdoc/`, without a leading slash. */
export interface Server {
  /** With credentials and, where something is changed, the XSRF token. Rejects only when there was no answer. */
  request(path: string, init?: RequestInit): Promise<Response>;
  /** A new socket at `path`; throws or fires `error`/`close` like any WebSocket. */
  socket(path: string): WebSocket;
  /** The full address of a resource, for links, pictures and frames. It never holds a token. */
  url(path: string): string;
}

/** A refused or failed request: the promise of a command rejects with it. */
export class RequestFailed extends Error {
  constructor(readonly problem: Problem) {
    super(problem.error);
  }
}

export interface NewChat {
  title?: string;
  model?: string;
  persona?: string;
}

export interface NewResearch extends NewChat {
  topic: string;
  template?: string | null;
  repo_name?: string | null;
  params?: Record<string, unknown>;
  budget?: Budget | null;
  provider?: string | null;
  /** The id of a registered repository, or `owner/name`; without it a new one is made. */
  repository?: string | null;
}

export type Mode = 'queue' | 'steer' | 'interrupt';

export interface Answer {
  decision?: 'allow' | 'deny';
  scope?: 'once' | 'session' | 'always';
  answer?: string;
}

/** A research template; `parameters` is a JSON Schema of a flat object. */
export interface Template {
  name: string;
  title: string;
  summary: string;
  version: string;
  parameters: Record<string, unknown>;
  topics: string[];
  plan: string[];
}

export interface Persona {
  name: string;
  title: string;
  tools: string[] | null;
  model: string | null;
  default: boolean;
}

export interface Model {
  id: string;
  provider: string;
  label: string;
  line?: string;
  available: boolean;
  reason?: string;
  next?: string;
  kinds: string[];
  prices?: { input: number; output: number } | null;
  default: boolean;
}

export interface Health {
  ok: boolean;
  version: string;
  parts: Record<string, { ok: boolean; message: string; next?: string; [key: string]: unknown }>;
}

export interface Room {
  room: string;
  id: string;
  messages: number;
  last: string;
}

/** What may be chosen for a publication; what is left out stays as it was, or comes from the server's settings. */
export type PublishOptions = Omit<Publish, 'type' | 'id' | 'chatId'>;

/** One thing that a token must be allowed. `ok` null: GitHub does not tell. */
export interface Right {
  name: string;
  ok: boolean | null;
  needed: string;
}

export interface Owner {
  login: string;
  /** user or organization */
  kind: string;
  mayCreate: boolean | null;
}

/** How the connection to GitHub stands. It never holds a token. */
export interface GitHubStatus {
  connected: boolean;
  host: string;
  apiUrl: string;
  /** The page that makes a token. */
  tokenUrl?: string;
  account: { login: string; name: string; kind: string; url: string } | null;
  /** stored, keyring, gh, file, environment or app */
  source: string | null;
  /** The user's own connection; otherwise it is the server's. */
  mine: boolean;
  choices: { file: boolean; keyring: boolean; gh: { available: boolean; login: string | null } };
  owners: Owner[];
  rights: Right[];
  missing: string[];
  problem: { code: string; error: string; next: string | null } | null;
  rate: { limit: number; remaining: number; resetAt: string } | null;
  defaults: { owner: string; private: boolean; publish: string; history: string };
}

/** How to connect. A token is used for this one request and kept nowhere on this side. */
export type GitHubConnect = { token: string; store: 'file' | 'keyring' } | { source: 'gh' };

/** Whether a session that was never published can be. */
export interface Publishable {
  state: string;
  canPublish: boolean;
  connected: boolean;
}

/** A comment of a pull request or on one of its lines. All of it comes from other people. */
export interface Comment {
  id: string | number;
  author: string;
  body: string;
  url: string;
  at: string;
  path: string | null;
  line: number | null;
  /** The word of a review, when it came with one: approved, changes_requested, commented. */
  review: string | null;
  bot: boolean;
  /** The agent has it already. */
  handed: boolean;
}

/** A registered repository; `sessions`: how many work in it. */
export interface Repository {
  id: string;
  name: string;
  host: string;
  url: string;
  webUrl: string | null;
  defaultBranch: string;
  private: boolean;
  createdAt: string;
  sessions: number;
  mayPush?: boolean | null;
  archived?: boolean;
}

/** A repository of the user's account; `registered`: its id here, when it is registered. */
export interface AvailableRepository {
  name: string;
  url: string;
  webUrl: string | null;
  defaultBranch: string;
  private: boolean;
  description: string | null;
  pushedAt: string | null;
  registered: string | null;
}

/** How a sandbox is; `next` says what would make one available. */
export interface SandboxInfo {
  available: boolean;
  why: string | null;
  next: string | null;
}

/** A project's notebook as it lives on the server. Times are UNIX seconds. */
export interface LiveNotebook {
  state: 'stopped' | 'starting' | 'ready' | 'following' | 'failed';
  /** A sentence when something is to be said: why it failed, what was lost. */
  message: string;
  kernel: 'none' | 'starting' | 'idle' | 'busy' | 'dead';
  viewers: number;
  sandboxed: boolean;
  /** When the outputs that it shows were made, when not by the kernel that runs now. */
  outputsFrom: number | null;
  hand: 'agent' | 'person';
  /** The name of who has it, as others see it; "" while it is the agent's. */
  holder: string;
  /** It is this user who has it. */
  mine: boolean;
  path: string;
  /** A run is at work, or waits. */
  running: boolean;
  sandbox: SandboxInfo;
}

export type NotebookMode = 'watch' | 'edit';

/** Where a browser finds the notebook's page: an address that holds for this user and for a while. */
export interface NotebookPage {
  url: string;
  mode: NotebookMode;
}

/** A step of a project that can be gone back to; `cells`: what it changed in the notebook. */
export interface Checkpoint {
  sha: string;
  short: string;
  subject: string;
  step: string | null;
  run: string | null;
  ts: string;
  by: string;
  cells: { added: number; changed: number; removed: number };
}

export interface CellChange {
  name: string;
  change: 'added' | 'changed' | 'removed' | 'moved' | 'same';
  before: string | null;
  after: string | null;
}

/** What is different between a checkpoint and another one, or the notebook as it is now (`live`). */
export interface CheckpointDiff {
  sha: string;
  against: string;
  cells: CellChange[];
  files: unknown[];
}

/**
 * What the views may do. Commands resolve once the server has committed them (after a reconnection too: they are sent
 * again with the same id) and reject with {@link RequestFailed}.
 */
export interface Client {
  /** Connect, and keep connected. */
  start(): void;
  /** Let go of the socket and all timers. Stops no run. */
  dispose(): void;
  /** Connect now instead of at the next planned attempt. */
  retryNow(): void;
  /** Follow a session while it is shown; call the result to stop following. Any number of times. */
  open(id: string): () => void;
  loadEarlier(id: string): Promise<void>;
  /** Add the archived sessions to the list. */
  loadArchived(): Promise<void>;

  create(chat?: NewChat): Promise<ChatInfo>;
  /** A new session, and the research in it. `key` makes a second call harmless. Resolves to the session's id. */
  research(research: NewResearch, key: string): Promise<string>;
  /** The message is shown at once as being sent. */
  say(id: string, content: string, mode?: Mode): Promise<void>;
  /** Send a message again that was not sent, or forget it. */
  resend(id: string, messageId: string): Promise<void>;
  forget(id: string, messageId: string): void;
  stop(id: string, how?: 'graceful' | 'now'): Promise<void>;
  respond(id: string, requestId: string, answer: Answer): Promise<void>;
  cancelQueued(id: string, messageId: string): Promise<void>;
  updateQueued(id: string, messageId: string, content: string): Promise<void>;
  set(
    id: string,
    change: { title?: string; model?: string; persona?: string; archived?: boolean }
  ): Promise<void>;
  resume(id: string): Promise<void>;
  /**
   * Resolves to the new session's id. `at` is a seq; without it everything is taken along. With a `commit` the new
   * session gets a project of its own that begins there.
   */
  fork(id: string, at?: number, commit?: string): Promise<string>;
  delete(id: string): Promise<void>;
  /** Begin a publication, or go on with one. `queued`: it waits until the session's work is done. */
  publish(id: string, options?: PublishOptions): Promise<Ack>;
  /** What may be done with a session that was never published; null when it was. */
  publishable(id: string): Promise<Publishable | null>;
  /** Ask the forge now; what is new comes as an event. */
  refreshPublication(id: string): Promise<void>;
  comments(id: string): Promise<Comment[]>;
  /** Give comments to the agent, as one message. */
  handComments(id: string, ids: readonly (string | number)[], note?: string): Promise<void>;
  /** How the project's notebook is. Starts nothing. */
  notebook(id: string): Promise<LiveNotebook>;
  /** The page of the notebook; starts what is needed for it, which takes a while. */
  openNotebook(id: string, mode: NotebookMode): Promise<NotebookPage>;
  /** Whether the page at this address can still be used. Never rejects. */
  notebookAlive(url: string): Promise<boolean>;
  /** Take the notebook into one's own hands: no agent changes it until it is given back. */
  takeNotebook(id: string): Promise<void>;
  giveNotebook(id: string): Promise<void>;
  /** Stop what the kernel executes. */
  interruptNotebook(id: string): Promise<void>;
  /** `kernel`: variables are lost; `editor`: the page too is started anew. */
  restartNotebook(id: string, what: 'kernel' | 'editor'): Promise<void>;
  /** End its processes. What was written is saved. */
  closeNotebook(id: string): Promise<void>;
  /** Newest first. */
  checkpoints(id: string): Promise<Checkpoint[]>;
  /** `against`: another checkpoint, or `live`; without it, the one before. */
  checkpoint(id: string, sha: string, against?: string): Promise<CheckpointDiff>;
  /** Make the notebook what it was then; resolves to the commit that says so. */
  restoreCheckpoint(id: string, sha: string): Promise<string>;
  /** Say something in a room (`room:<name>` or the name). */
  post(room: string, content: string, kind?: string, agent?: string): Promise<void>;

  templates(): Promise<Template[]>;
  personas(): Promise<Persona[]>;
  models(): Promise<Model[]>;
  health(): Promise<Health>;
  rooms(): Promise<Room[]>;
  github(): Promise<GitHubStatus>;
  connectGitHub(how: GitHubConnect): Promise<GitHubStatus>;
  disconnectGitHub(): Promise<GitHubStatus>;
  repositories(): Promise<Repository[]>;
  /** Those of the user's account that fit the words. */
  availableRepositories(query: string): Promise<AvailableRepository[]>;
  /** `owner/name`, or an https address. */
  addRepository(given: string): Promise<Repository>;
  removeRepository(id: string): Promise<void>;
  /** A stored output or picture. */
  blob(id: string, ref: string): Promise<Blob>;
  /** The address of something below `postdoc/`, for a link or a frame. */
  url(path: string): string;
}

export { createClient, type Live } from './live';
