// Made from the server's JSON Schema by `jlpm protocol`. Do not edit.

/** An event as it arrives: its place in the log, and its body. */
export type EventFrame = Head & AnyEvent;
/** Whatever arrives on the socket. */
export type Frame = EventFrame | AnyControl;

export type AnyCommand =
  | Hello
  | Subscribe
  | Unsubscribe
  | Ping
  | Chat
  | Research
  | Publish
  | Stop
  | Respond
  | QueueCancel
  | QueueUpdate
  | SessionSet
  | Resume
  | Fork
  | NotebookTake
  | NotebookGive
  | Post;
export type AnyEvent =
  | UserMessage
  | Token
  | Thinking
  | AssistantMessage
  | ToolUse
  | ToolInput
  | ToolOutput
  | ToolResult
  | AgentStatus
  | Plan
  | Cell
  | Notebook
  | Artifact
  | Publication
  | Question
  | Answered
  | ApprovalRequest
  | ApprovalResolved
  | Usage
  | ContextSummary
  | SessionState
  | QueueChanged
  | Result
  | Error;
export type AnyControl =
  Welcome | History | Ack | RequestError | Pong | SessionList | SessionChanged | Reset | Bye | Done;

export interface Protocol {
  command?: AnyCommand;
  event?: AnyEvent;
  control?: AnyControl;
  head?: Head;
  envelope?: Envelope;
}
/**
 * Optional first frame: who the client is and what it can take.
 */
export interface Hello {
  type: 'hello';
  id?: string | null;
  client?: string;
  caps?: string[];
}
/**
 * Follow one session from ``after``, or the session list.
 *
 *     Without ``after`` the answer is ``history`` (the last 200 messages that fit one frame), then live; -1 is live only;
 *     an ``after`` beyond the log is answered by ``reset``. A room may be followed before the first message in it: its
 *     history is then empty. With an ``id`` an ``ack`` says that following has begun.
 *     ``sessions: true`` is answered by ``{"type":"sessions","sessions":[chat, …]}``, then by ``{"type":"session",
 *     "chatId","session":chat}`` for each that is new or changed in more than ``lastSeq`` and ``updatedAt``, and by
 *     ``{"type":"session","chatId","deleted":true}``; a chat is the object of ``GET api/chats/{id}``.
 */
export interface Subscribe {
  type: 'subscribe';
  id?: string | null;
  chatId?: string | null;
  after?: number | null;
  types?: string[] | null;
  kinds?: string[] | null;
  sessions?: boolean;
}
/**
 * Stop following one session (or, without ``chatId``, the session list).
 */
export interface Unsubscribe {
  type: 'unsubscribe';
  id?: string | null;
  chatId?: string | null;
}
/**
 * Answered by ``pong``.
 */
export interface Ping {
  type: 'ping';
  id?: string | null;
}
/**
 * Say something to the agent of a chat.
 */
export interface Chat {
  type: 'chat';
  id?: string | null;
  chatId: string;
  content: string;
  mode?: 'interrupt' | 'queue' | 'steer';
}
/**
 * Start research on a topic in this chat. ``provider`` is ``template`` or ``anthropic``; by default a model when
 *     one is configured. ``model`` is for this chat from now on.
 */
export interface Research {
  type: 'research';
  id?: string | null;
  chatId: string;
  topic: string;
  repo_name?: string | null;
  template?: string | null;
  params?: Record<string, unknown>;
  budget?: Budget | null;
  provider?: string | null;
  model?: string | null;
  repository?: string | null;
}
/**
 * Limits of one run: US dollars, minutes, agent turns.
 */
export interface Budget {
  usd?: number | null;
  minutes?: number | null;
  turns?: number | null;
}
/**
 * Publish the session's project on GitHub, or send what is new and go on where an earlier attempt stopped.
 *
 *     What is left out stays as it was the last time; the first time it comes from the server's settings. ``owner`` is a
 *     user or an organisation, ``name`` the repository's. ``useExisting``: a repository of that name may be used as it
 *     is. ``history`` ``squashed`` sends one commit in place of all steps. ``branch`` is another name for the session's
 *     branch. ``force`` lets it overwrite that branch, if it is still as it was seen last. ``acceptMoved``: the
 *     repository was renamed, and the new place is right.
 */
export interface Publish {
  type: 'publish';
  id?: string | null;
  chatId: string;
  owner?: string | null;
  name?: string | null;
  private?: boolean | null;
  useExisting?: boolean;
  history?: ('full' | 'squashed') | null;
  branch?: string | null;
  force?: boolean;
  acceptMoved?: boolean;
  pullRequest?: boolean | null;
}
/**
 * Stop the run of a chat: graceful (finish the sentence or tool) or now.
 */
export interface Stop {
  type: 'stop';
  id?: string | null;
  chatId: string;
  how?: 'graceful' | 'now';
}
/**
 * Answer a question or an approval request.
 */
export interface Respond {
  type: 'respond';
  id?: string | null;
  chatId: string;
  requestId: string;
  decision?: ('allow' | 'deny') | null;
  scope?: ('always' | 'once' | 'session') | null;
  answer?: string | null;
}
/**
 * Take back a message that was not yet taken.
 */
export interface QueueCancel {
  type: 'queue.cancel';
  id?: string | null;
  chatId: string;
  messageId: string;
}
/**
 * Change a message that was not yet taken.
 */
export interface QueueUpdate {
  type: 'queue.update';
  id?: string | null;
  chatId: string;
  messageId: string;
  content: string;
}
/**
 * Change the session itself; ``version`` guards against a lost update.
 */
export interface SessionSet {
  type: 'session.set';
  id?: string | null;
  chatId: string;
  version?: number | null;
  title?: string | null;
  model?: string | null;
  persona?: string | null;
  archived?: boolean | null;
}
/**
 * Carry on a run that was stopped, interrupted or failed.
 */
export interface Resume {
  type: 'resume';
  id?: string | null;
  chatId: string;
}
/**
 * A new chat that starts with this one's events up to ``at``.
 */
export interface Fork {
  type: 'fork';
  id?: string | null;
  chatId: string;
  at?: number | null;
  commit?: string | null;
}
/**
 * Take the notebook into one's own hands: from now on no agent changes it.
 */
export interface NotebookTake {
  type: 'notebook.take';
  id?: string | null;
  chatId: string;
}
/**
 * Give the notebook back: what was changed is committed, and an agent that waits for it goes on.
 */
export interface NotebookGive {
  type: 'notebook.give';
  id?: string | null;
  chatId: string;
}
/**
 * A message in a room, said by a named agent.
 */
export interface Post {
  type: 'post';
  id?: string | null;
  chatId: string;
  agent: string;
  content: string;
  kind?: string;
}
/**
 * What a person, or an agent in a room, said. ``by`` is the server's word for the sender, never the client's.
 */
export interface UserMessage {
  type: 'user_message';
  id: string;
  content: string;
  by: string;
  runId?: string;
  mode?: string;
  agent?: string;
  kind?: string;
  research?: Record<string, unknown>;
}
/**
 * Partial text of one item; replaced by the final :class:`AssistantMessage`.
 */
export interface Token {
  type: 'token';
  itemId: string;
  delta: string;
}
/**
 * Thinking, partial (``delta``) or final (``content``).
 */
export interface Thinking {
  type: 'thinking';
  runId?: string;
  provider?: string;
  itemId: string;
  delta?: string;
  content?: string;
  /**
   * @minItems 2
   * @maxItems 2
   */
  replaces?: never[];
}
/**
 * A whole reply text. ``partial`` marks one that was cut off; ``replaces`` names the token frames it stands for.
 *
 *     ``citations`` are ``{"url", "title", "text"}``, as far as known, in the order of the text.
 */
export interface AssistantMessage {
  type: 'assistant_message';
  runId?: string;
  provider?: string;
  itemId: string;
  content: string;
  partial?: boolean;
  citations?: Record<string, unknown>[];
  /**
   * @minItems 2
   * @maxItems 2
   */
  replaces?: never[];
}
/**
 * The agent asks for a tool. ``title`` says it in plain words; ``risk`` is read, write, execute or outside.
 *
 *     ``partial``: the call was cut off before it was complete and is never carried out (``toolInput`` is then
 *     ``{"cut": "<the text so far>"}``). ``server``: the model's own server has run it. ``parent`` is the call of the
 *     sub-agent that asks.
 */
export interface ToolUse {
  type: 'tool_use';
  runId?: string;
  provider?: string;
  toolName: string;
  toolId: string;
  toolInput: Record<string, unknown>;
  title?: string;
  risk?: string;
  partial?: boolean;
  server?: boolean;
  parent?: string;
  /**
   * @minItems 2
   * @maxItems 2
   */
  replaces?: never[];
}
/**
 * The input of a call as the model writes it: partial JSON text; replaced by its :class:`ToolUse`.
 */
export interface ToolInput {
  type: 'tool_input';
  toolId: string;
  toolName: string;
  delta: string;
}
/**
 * Partial output of a running tool; replaced by its :class:`ToolResult`.
 */
export interface ToolOutput {
  type: 'tool_output';
  toolId: string;
  delta: string;
}
/**
 * What a tool answered. ``content`` is text for the model and the reader, ``data`` the same as an object.
 *
 *     ``truncated``: ``content`` is the head and the tail; ``blob`` names the whole text.
 */
export interface ToolResult {
  type: 'tool_result';
  runId?: string;
  provider?: string;
  toolId: string;
  ok: boolean;
  content: string;
  toolName?: string;
  data?: Record<string, unknown>;
  truncated?: boolean;
  blob?: string;
  images?: ImageRef[];
  server?: boolean;
  parent?: string;
  duration_ms?: number;
  /**
   * @minItems 2
   * @maxItems 2
   */
  replaces?: never[];
}
/**
 * A picture among the blobs of its session: ``GET api/chats/{id}/blobs/{blob}``.
 */
export interface ImageRef {
  blob: string;
  mediaType?: string;
  title?: string;
}
/**
 * One line in plain words about what is going on now; ``progress`` runs from 0 to 1.
 */
export interface AgentStatus {
  type: 'agent_status';
  runId?: string;
  provider?: string;
  message: string;
  phase?: string;
  progress?: number | null;
}
/**
 * The whole plan; each event replaces the one before.
 */
export interface Plan {
  type: 'plan';
  runId?: string;
  provider?: string;
  items: PlanItem[];
}
/**
 * One line of the plan.
 */
export interface PlanItem {
  text: string;
  state: 'active' | 'done' | 'failed' | 'pending' | 'skipped';
}
/**
 * The state of one notebook cell: queued, running, ok, error, skipped or stale.
 */
export interface Cell {
  type: 'cell';
  runId?: string;
  provider?: string;
  notebook: string;
  cell: string;
  status: string;
  output?: Record<string, unknown>;
  error?: string;
  duration_ms?: number;
}
/**
 * The project's notebook as a running editor: how the editor is, and in whose hand the notebook is.
 *
 *     ``state``: stopped, starting, ready, following (the editor is there, but the agent works on the file beside it),
 *     failed. While ``hand`` is person, no agent changes the notebook; ``holder`` is then who has it, as others see them.
 *     ``message`` is a sentence when something is to be said, such as why it failed or what was lost.
 */
export interface Notebook {
  type: 'notebook';
  state: 'failed' | 'following' | 'ready' | 'starting' | 'stopped';
  hand: 'agent' | 'person';
  holder: string;
  message: string;
  path: string;
}
/**
 * Something made: notebook, report, repo, branch, commit, compare, pr.
 */
export interface Artifact {
  type: 'artifact';
  runId?: string;
  provider?: string;
  artifact: string;
  path?: string;
  url?: string;
  title?: string;
  data?: Record<string, unknown>;
}
/**
 * Where the session's work is published, as it stands now; each event replaces the one before.
 *
 *     ``failed`` may still have a repository, a branch or a pull request from before. ``notes`` are sentences for a
 *     person. ``ahead``: commits of the session that are not published yet. ``checkedAt``: when the forge was last asked.
 */
export interface Publication {
  type: 'publication';
  runId?: string;
  provider?: string;
  state: 'failed' | 'published' | 'publishing';
  forge: string;
  repository?: PublishedRepository;
  branch?: PublishedBranch;
  pull?: PullRequest;
  steps: PublishStep[];
  notes: string[];
  problem?: Problem;
  ahead: number;
  checkedAt?: string;
}
/**
 * ``name`` is ``owner/name`` as the forge has it; ``url`` is its page.
 */
export interface PublishedRepository {
  name: string;
  url: string;
  private: boolean;
  defaultBranch: string;
}
/**
 * The session's branch: its page, the commit that was sent last, and its comparison with the default branch.
 */
export interface PublishedBranch {
  name: string;
  url: string;
  commit: string;
  compareUrl: string;
}
/**
 * A pull request as the forge has it. ``comments`` counts those that people wrote (and review comments).
 */
export interface PullRequest {
  number: number;
  url: string;
  title: string;
  state: 'closed' | 'merged' | 'open';
  draft: boolean;
  base: string;
  head: string;
  checks: Checks;
  review: Review;
  comments: number;
  mergeable: boolean | null;
}
/**
 * The checks of a commit, counted. ``url`` is their page.
 */
export interface Checks {
  state: 'failed' | 'none' | 'passed' | 'pending';
  total: number;
  passed: number;
  failed: number;
  url: string;
}
/**
 * What reviewers have said, the last word of each.
 */
export interface Review {
  state: 'approved' | 'changes_requested' | 'commented' | 'none';
  approvedBy: string[];
  changesRequestedBy: string[];
}
/**
 * One step of a publication. ``text`` says in plain words what it does, or why it was skipped.
 */
export interface PublishStep {
  name: 'branch' | 'check' | 'create' | 'pull_request' | 'push' | 'topics';
  state: 'active' | 'done' | 'failed' | 'pending' | 'skipped';
  text: string;
}
/**
 * Why a publication stopped. ``actions`` are what may be done now: retry, rename (``proposal`` is a free name),
 *     use_existing, connect, squash, force, branch (``proposal`` is a free branch name), moved (``proposal`` is where the
 *     repository is now). ``retryAt`` is when the limit of the forge ends; ``url`` a page that helps.
 */
export interface Problem {
  code: string;
  error: string;
  next: string;
  retryable: boolean;
  actions: string[];
  proposal: string;
  findings: Finding[];
  url: string;
  retryAt: string;
}
/**
 * Why something may not be sent. Never holds the secret itself: ``text`` is a sentence. ``line`` counts from 1.
 */
export interface Finding {
  kind: 'large_file' | 'link' | 'name' | 'nested_git' | 'secret' | 'submodule' | 'workflow';
  path: string;
  text: string;
  line: number | null;
  commit: string;
  step: string;
  blocking: boolean;
}
/**
 * The run waits for an answer.
 */
export interface Question {
  type: 'question';
  runId?: string;
  provider?: string;
  requestId: string;
  question: string;
  options?: string[];
  deadline?: string | null;
  where?: string;
}
/**
 * A question got its answer; ``decision`` is ``expired`` or ``cancelled`` when it will get none.
 */
export interface Answered {
  type: 'answered';
  requestId: string;
  answer: string;
  by: string;
  decision?: string;
}
/**
 * The run asks for leave to do one thing: ``what`` in plain words, ``toolId`` the call (its input is there).
 */
export interface ApprovalRequest {
  type: 'approval_request';
  runId?: string;
  provider?: string;
  requestId: string;
  what: string;
  where?: string;
  toolId?: string;
  toolName?: string;
  risk?: string;
  deadline?: string | null;
}
/**
 * Leave was given or denied.
 */
export interface ApprovalResolved {
  type: 'approval_resolved';
  requestId: string;
  decision: string;
  by: string;
  scope?: string;
}
/**
 * Tokens used by one call of the model, and what they cost in US dollars (null when no price is known).
 *
 *     ``prices`` is the version of the price list. ``estimated``: the call was interrupted before its usage was told.
 */
export interface Usage {
  type: 'usage';
  runId?: string;
  provider?: string;
  tokens: {
    [k: string]: number;
  };
  cost: number | null;
  prices?: string;
  model?: string;
  estimated?: boolean;
}
/**
 * For the model, everything up to and including event ``through`` is from now on this text; the log keeps all.
 */
export interface ContextSummary {
  type: 'context_summary';
  runId?: string;
  provider?: string;
  content: string;
  through: number;
}
/**
 * The session is now in this state. ``version`` counts changes of the session row.
 */
export interface SessionState {
  type: 'session_state';
  status: string;
  version: number;
  reason?: string;
  runId?: string;
  title?: string;
  model?: string;
}
/**
 * The messages that still wait their turn, first to be taken first.
 */
export interface QueueChanged {
  type: 'queue_changed';
  pending: Record<string, unknown>[];
  cancelled?: string[];
}
/**
 * The end of a run. ``cost`` is US dollars, null when unknown. ``followedBy``: a run that begins by itself.
 */
export interface Result {
  type: 'result';
  runId?: string;
  provider?: string;
  success: boolean;
  cost: number | null;
  duration_ms: number;
  stop_reason: string;
  summary?: string;
  usage?: Record<string, unknown>;
  partial?: boolean;
  verdict?: Record<string, unknown> | null;
  artifacts?: {
    [k: string]: string;
  };
  followedBy?: string;
}
/**
 * A failure, as a sentence. ``ref`` finds the details in the server's log.
 */
export interface Error {
  type: 'error';
  runId?: string;
  provider?: string;
  code: string;
  error: string;
  retryable?: boolean;
  next?: string;
  ref?: string;
  toolId?: string;
}
/**
 * The answer to ``hello``. ``caps`` are those of the client that this server knows too.
 */
export interface Welcome {
  type: 'welcome';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
  server: string;
  user: Person;
  caps: string[];
  limits: ConnectionLimits;
  heartbeatMs: number;
}
/**
 * A user, as Jupyter's identity provider knows them.
 */
export interface Person {
  name: string;
  display: string;
}
/**
 * What one connection may do: bytes of an inbound message, of ``content`` and of an outbound frame; JSON depth;
 *     subscriptions; commands per second, and how many at once.
 */
export interface ConnectionLimits {
  message: number;
  content: number;
  frame: number;
  depth: number;
  subscriptions: number;
  perSecond: number;
  burst: number;
}
/**
 * The answer to ``subscribe`` without ``after``: the newest ``messages`` that fit one frame, each an event frame.
 *
 *     What comes next is after ``throughSeq``; with ``hasMore`` there are older messages before ``fromSeq``. ``queue`` is
 *     as in ``queue_changed``, ``state`` as in ``session_state``.
 */
export interface History {
  type: 'history';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
  messages: EventFrame[];
  state: string;
  queue: Record<string, unknown>[];
  fromSeq: number;
  throughSeq: number;
  hasMore: boolean;
}
/**
 * A command was carried out and committed. ``seq`` is that of its first event, 0 when it made none; of a
 *     ``subscribe`` it is the one after which following begins, and it is absent for the session list.
 *
 *     ``fork`` is the chat that a fork made, with so many ``events``; ``version`` is the session's after a change;
 *     ``stopping`` and ``stopped`` count the runs that a stop has asked to end and that it ended before they began.
 *     ``hand`` is who has the notebook now, ``working`` that an agent still carries out a call; ``commit`` holds what a
 *     person has changed, by name in ``cells`` (added, changed, removed, moved).
 */
export interface Ack {
  type: 'ack';
  v: number;
  ts: string;
  chatId?: string;
  id: string;
  duplicate: boolean;
  queued: boolean;
  seq?: number;
  runId?: string;
  version?: number;
  fork?: string;
  events?: number;
  stopping?: number;
  stopped?: number;
  hand?: 'agent' | 'person';
  working?: boolean;
  commit?: string;
  cells?: {
    [k: string]: string;
  };
}
/**
 * A request was refused, or following a chat ended. Told from the event ``error`` by having no ``seq``.
 *
 *     ``id`` and ``chatId`` are the request's, as far as they could be read. ``proposal`` is a name that would do instead,
 *     ``version`` the session's true one, ``git`` what git said, ``reason`` a word for programs, ``retry_at`` when it is
 *     worth while to try again (UNIX seconds), ``details`` all else.
 */
export interface RequestError {
  type: 'error';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
  code: string;
  error: string;
  retryable: boolean;
  next?: string;
  ref?: string;
  received?: Received;
  proposal?: string | null;
  version?: number;
  status?: string;
  reason?: string;
  git?: string;
  retry_at?: number | null;
  details?: Record<string, unknown>;
}
/**
 * What an unknown message looked like. ``type`` is null when it was missing or no plain value.
 */
export interface Received {
  type: string | number | boolean | null;
  keys: string[];
}
/**
 * The answer to ``ping``.
 */
export interface Pong {
  type: 'pong';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
}
/**
 * All sessions of the user: the first answer to ``subscribe`` with ``sessions: true``.
 */
export interface SessionList {
  type: 'sessions';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
  sessions: ChatInfo[];
}
/**
 * A session: the object of ``GET api/chats/{id}``.
 *
 *     ``line``: what it does now, or what came of it, in one line. ``cost``: US dollars spent so far (null: unknown or
 *     none). ``needs``: how many questions and approvals wait for the user.
 */
export interface ChatInfo {
  id: string;
  title: string;
  kind: string;
  state: string;
  reason: string | null;
  model: string | null;
  persona: string | null;
  provider: string | null;
  archived: boolean;
  version: number;
  lastSeq: number;
  createdAt: string;
  updatedAt: string;
  project: Record<string, unknown> | null;
  template: string | null;
  line: string | null;
  cost: number | null;
  needs: number;
  publication: Published | null;
  notebook: Record<string, unknown> | null;
  repository: string | null;
}
/**
 * Where a session's work is published, in short. ``url`` is the pull request's page, else the repository's.
 */
export interface Published {
  state: 'failed' | 'published' | 'publishing';
  repository: string;
  url: string;
  pull: number | null;
  pullState: string;
  checks: string;
  ahead: number;
}
/**
 * A session of the list is new or has changed, or is no longer there (``deleted``).
 */
export interface SessionChanged {
  type: 'session';
  v: number;
  ts: string;
  chatId: string;
  id?: string;
  session?: ChatInfo;
  deleted?: boolean;
}
/**
 * The log was replaced: discard what is known of this chat (without ``chatId``: of all) and subscribe again.
 */
export interface Reset {
  type: 'reset';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
}
/**
 * The server closes the connection now.
 */
export interface Bye {
  type: 'bye';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
  reason: string;
  retryAfterMs: number;
}
/**
 * The alias of ``result`` for clients that asked for it (cap ``done``): its body, and its seq as ``of``.
 */
export interface Done {
  type: 'done';
  v: number;
  ts: string;
  chatId?: string;
  id?: string;
  of: number;
  success: boolean;
  cost: number | null;
  duration_ms: number;
  stop_reason: string;
  runId?: string;
  provider?: string;
  summary?: string;
  usage?: Record<string, unknown>;
  partial?: boolean;
  verdict?: Record<string, unknown> | null;
  artifacts?: {
    [k: string]: string;
  };
  followedBy?: string;
}
/**
 * What stands before the body of every event frame. Partial frames (text that a final event replaces) have neither
 *     ``v`` nor ``ts``.
 */
export interface Head {
  chatId: string;
  seq: number;
  v?: number;
  ts?: string;
}
/**
 * The other form of every frame (subprotocol ``postdoc.v1.envelope``): ``payload`` is the body with its ``type``.
 *
 *     ``seq`` is 0 on control frames; ``sessionId`` is the flat form's ``chatId``.
 */
export interface Envelope {
  v: number;
  kind: 'ack' | 'command' | 'error' | 'event' | 'snapshot' | 'subscribe';
  sessionId: string | null;
  ts: string;
  seq: number;
  payload: Record<string, unknown>;
}
