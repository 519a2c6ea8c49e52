/**
 * What the views show: a session as the events of its log make it, the list of sessions, and the connection.
 *
 * All of it is plain, read-only data. The reducer (store/reduce.ts) makes a new object for what an event changes and
 * keeps the identity of everything else, so that a memoised component renders only what is new.
 */
import type {
  Artifact as ArtifactEvent,
  ChatInfo,
  EventFrame,
  ImageRef,
  PlanItem,
  Notebook as NotebookEvent,
  Publication as PublicationEvent,
  Result as ResultEvent,
  UserMessage
} from './protocol';

export type { ArtifactEvent, ChatInfo, EventFrame, ImageRef, PlanItem, ResultEvent };

/**
 * Where the work is published, as the newest event says. `runId`: the run that published last. `once`: it has been
 * published at least once. `told`: the number of the pull request that was spoken of.
 */
export type Publication = Omit<PublicationEvent, 'type' | 'provider'> & {
  readonly once: boolean;
  readonly told: number | null;
};

/** The project's notebook as a running editor, and in whose hand it is, as the newest event says. */
export type NotebookState = Omit<NotebookEvent, 'type'>;

/** The states of a session; the server decides. `unknown`: a state of a newer server. */
export type Status =
  | 'queued'
  | 'starting'
  | 'running'
  | 'waiting'
  | 'paused'
  | 'stopping'
  | 'stopped'
  | 'finished'
  | 'error'
  | 'interrupted'
  | 'unknown';

/** What every item of a timeline has. `key` is unique in its session and never changes; `seq` is its first event's. */
interface ItemBase {
  readonly key: string;
  readonly seq: number;
  /** Milliseconds since 1970 by the server's clock; null until a final event tells (partial frames carry none). */
  readonly at: number | null;
  readonly runId?: string;
}

/** What a person said, or an agent in a room. */
export interface UserItem extends ItemBase {
  readonly kind: 'user';
  readonly id: string;
  readonly content: string;
  readonly by: string;
  readonly mode?: string;
  /** In rooms: who speaks, and what kind of message it is. */
  readonly agent?: string;
  readonly messageKind?: string;
  readonly research?: UserMessage['research'];
  /** Not yet acknowledged by the server (`failed`: and given up; `problem` says why). Such items have seq 0. */
  readonly sending?: 'pending' | 'failed';
  readonly problem?: Problem;
}

/** A reply of the agent; while `streaming` its text still grows. `partial`: it was cut off. */
export interface TextItem extends ItemBase {
  readonly kind: 'text';
  readonly content: string;
  readonly streaming: boolean;
  readonly partial: boolean;
  readonly citations: readonly { url?: string; title?: string; text?: string }[];
  readonly provider?: string;
}

/** Thinking. `startedAt`, `endedAt`: milliseconds by this machine's clock when it was seen live, else null. */
export interface ThinkingItem extends ItemBase {
  readonly kind: 'thinking';
  readonly content: string;
  readonly streaming: boolean;
  readonly startedAt: number | null;
  readonly endedAt: number | null;
}

/** One part of a cell's output: text, or a picture that is fetched from the session's blobs. */
export interface CellOutput {
  readonly kind: string;
  readonly text: string;
  readonly blob?: string;
  readonly mediaType?: string;
  /** A table: its first rows as text. */
  readonly columns?: readonly string[];
  readonly rows?: readonly (readonly string[])[];
}

/** The newest state of one notebook cell. */
export interface CellItem {
  readonly notebook: string;
  readonly cell: string;
  readonly status: string;
  readonly outputs: readonly CellOutput[];
  readonly error: string | null;
  readonly durationMs: number | null;
}

/**
 * A call of a tool. `writing`: the model still writes its input (`inputText` is the JSON so far); `asked`: it waits for
 * its turn or for leave; `cut`: it was cut off and is never carried out. `cells`: the notebook cells that it ran, in
 * the order in which they first ran.
 */
export interface ToolItem extends ItemBase {
  readonly kind: 'tool';
  readonly toolId: string;
  readonly name: string;
  /** Plain words from the server, e.g. "Editing cells: load, coverage". */
  readonly title: string;
  readonly risk?: string;
  readonly input: Readonly<Record<string, unknown>> | null;
  readonly inputText: string;
  readonly status: 'writing' | 'asked' | 'running' | 'ok' | 'failed' | 'cut';
  /** Output as it streams; the result's `content` once there is one. */
  readonly output: string;
  readonly data: Readonly<Record<string, unknown>> | null;
  readonly images: readonly ImageRef[];
  readonly truncated: boolean;
  /** Where the whole output is when `truncated`. */
  readonly blob: string | null;
  readonly durationMs: number | null;
  readonly parent?: string;
  readonly server: boolean;
  readonly cells: readonly CellItem[];
}

/** The agent asks something and waits; `answer` is null until somebody did (`decision`: expired or cancelled). */
export interface QuestionItem extends ItemBase {
  readonly kind: 'question';
  readonly requestId: string;
  readonly question: string;
  readonly options: readonly string[];
  readonly deadline: number | null;
  /** When a limit asks: which (`budget`, `max_turns`, …). */
  readonly where?: string;
  readonly answer: string | null;
  readonly by: string | null;
  readonly decision: string | null;
}

/** The agent asks for leave to do one thing; `decision` is null until it is resolved. */
export interface ApprovalItem extends ItemBase {
  readonly kind: 'approval';
  readonly requestId: string;
  readonly what: string;
  readonly where?: string;
  readonly toolId?: string;
  readonly toolName?: string;
  readonly risk?: string;
  readonly deadline: number | null;
  readonly decision: string | null;
  readonly scope: string | null;
  readonly by: string | null;
}

/** A commit: a point to come back to. */
export interface CheckpointItem extends ItemBase {
  readonly kind: 'checkpoint';
  readonly commit: string;
  readonly title: string;
}

/**
 * Something worth a line: a retry, a summed-up conversation, another model, a stop. `taken`, `given`: of the notebook;
 * `text` is then who did it.
 */
export interface NoticeItem extends ItemBase {
  readonly kind: 'notice';
  readonly notice:
    'retry' | 'summary' | 'resumed' | 'stopped' | 'interrupted' | 'answered' | 'taken' | 'given';
  readonly text: string;
}

/** What became of the publication, in one line: the difference between two of its events. */
export interface PublicationItem extends ItemBase {
  readonly kind: 'publication';
  readonly what:
    | 'published'
    | 'opened'
    | 'reopened'
    | 'merged'
    | 'closed'
    | 'checks_failed'
    | 'checks_passed'
    | 'approved'
    | 'changes_requested';
  /** `owner/name` as the forge has it. */
  readonly repository: string;
  /** Of the pull request; null when there is none. */
  readonly number: number | null;
  /** From the server, unchecked. */
  readonly url: string;
}

/** The end of a run. `publishing`: it was one that only published; `followedBy`: what begins by itself now. */
export interface ResultItem extends ItemBase {
  readonly kind: 'result';
  readonly publishing: boolean;
  readonly followedBy: string | null;
  readonly success: boolean;
  readonly cost: number | null;
  readonly durationMs: number;
  readonly stopReason: string;
  readonly summary: string;
  readonly partial: boolean;
  readonly verdict: Readonly<Record<string, unknown>> | null;
  readonly artifacts: Readonly<Record<string, string>>;
  readonly provider?: string;
  /** Tokens of this run, and of the research question that began it. */
  readonly tokens: number | null;
}

/** A failure of a run, as a sentence. `publishing`: the run only published; what it was about is kept. */
export interface ErrorItem extends ItemBase {
  readonly kind: 'error';
  readonly publishing: boolean;
  readonly code: string;
  readonly error: string;
  readonly next: string;
  readonly retryable: boolean;
  readonly ref?: string;
}

export type Item =
  | UserItem
  | TextItem
  | ThinkingItem
  | ToolItem
  | QuestionItem
  | ApprovalItem
  | CheckpointItem
  | NoticeItem
  | PublicationItem
  | ResultItem
  | ErrorItem;

/** A message that waits its turn. */
export interface Pending {
  readonly id: string;
  readonly content: string;
  readonly kind: string;
  readonly runId: string;
}

/** What the agent does now. `since`: when the current line came, in milliseconds by this machine's clock. */
export interface Live {
  readonly message: string;
  readonly phase?: string;
  /** 0 to 1, or null when nobody can say. */
  readonly progress: number | null;
  readonly since: number;
}

/** What the current run (or the last one) has used. `cost` is US dollars, null when no price is known. */
export interface Spent {
  readonly tokensIn: number;
  readonly tokensOut: number;
  readonly cost: number | null;
  /** True when some call had no price or was interrupted: the true cost is at least `cost`. */
  readonly estimated: boolean;
}

/** The limits of the current run, as far as its command named them. */
export interface Limits {
  readonly usd: number | null;
  readonly minutes: number | null;
  readonly turns: number | null;
}

/** The newest artifact of one kind: notebook, report, repo, branch, commit, compare, pr. */
export interface Artifact {
  readonly artifact: string;
  readonly path?: string;
  readonly url?: string;
  readonly title?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** A refused request or a lost one: a sentence for a person, and what to do next. */
export interface Problem {
  readonly code: string;
  readonly error: string;
  readonly next: string;
  readonly retryable: boolean;
  /** The whole answer: it may name a `proposal`, `details`, the true `version`. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** Everything known of one session. */
export interface SessionView {
  readonly id: string;
  /** `no`: not asked for yet; `gone`: the server says that there is no such session; `failed`: see `problem`. */
  readonly loaded: 'no' | 'loading' | 'yes' | 'gone' | 'failed';
  readonly problem: Problem | null;
  readonly status: Status;
  readonly reason: string | null;
  readonly title: string | null;
  readonly runId: string | null;
  /** The last event that this client has: where a subscription goes on. */
  readonly lastSeq: number;
  /** The first event that this client has; `hasMore`: there are older ones. */
  readonly firstSeq: number;
  readonly hasMore: boolean;
  readonly loadingEarlier: boolean;
  readonly items: readonly Item[];
  readonly plan: readonly PlanItem[] | null;
  readonly live: Live | null;
  /** When the current run began (milliseconds, server clock); null while none is at work. */
  readonly runStartedAt: number | null;
  readonly spent: Spent;
  readonly limits: Limits;
  readonly queue: readonly Pending[];
  readonly artifacts: Readonly<Record<string, Artifact>>;
  readonly publication: Publication | null;
  /** Null: no event has told of it. */
  readonly notebook: NotebookState | null;
  /** What the run before this one used, and its limits: a run that only publishes does not stand in its place. */
  readonly before: { readonly spent: Spent; readonly limits: Limits } | null;
  /** Open questions and approvals: their request ids, oldest first. */
  readonly waitingFor: readonly string[];
  /** Set for a while after a reconnection: how many events had been missed. */
  readonly caughtUp: { readonly events: number; readonly at: number } | null;
}

/** The state of the connection, honestly. Times are milliseconds by this machine's clock. */
export interface Connection {
  readonly state: 'connecting' | 'connected' | 'reconnecting' | 'offline' | 'expired' | 'missing';
  /** Since when there is no socket; null while connected. */
  readonly lostAt: number | null;
  /** When the next attempt is made; null when none is planned (or one is being made now). */
  readonly retryAt: number | null;
  readonly problem: Problem | null;
}

/** Everything this client knows. */
export interface State {
  readonly connection: Connection;
  readonly user: { readonly name: string; readonly display: string } | null;
  /** Null until the server has sent the list. Archived sessions are in it only after they were asked for. */
  readonly sessions: Readonly<Record<string, ChatInfo>> | null;
  /** What has been opened, by id. */
  readonly views: Readonly<Record<string, SessionView>>;
}
