/**
 * How the events of a session's log make its view. Pure and idempotent: an event that the view has already (`seq` not
 * after `lastSeq`) changes nothing, so a frame may come twice.
 *
 * A batch of frames is reduced in one pass over a draft whose list of items is copied once; text that streams in is
 * appended to one item, which is found from the end. The cost of a token does not grow with the answer or the log.
 */
import { statusOf } from './status';
import type {
  Artifact,
  Item,
  Limits,
  Pending,
  SessionView,
  Spent,
  Status,
  ToolItem,
  UserItem
} from '../model';
import type * as p from '../protocol';
import { cellOf, mergeCells, numberIn, recordOf, textIn } from './parts';

const NOTHING_SPENT: Spent = { tokensIn: 0, tokensOut: 0, cost: null, estimated: false };
const NO_LIMITS: Limits = { usd: null, minutes: null, turns: null };
const AT_WORK = new Set(['queued', 'starting', 'running', 'waiting', 'paused', 'stopping']);

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
    waitingFor: [],
    caughtUp: null
  };
}

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
  const blank = { ...emptyView(view.id), items: view.items.filter(isOutgoing), caughtUp: view.caughtUp };
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
 * comes what holds for all of the session: artifacts, plan, limits, what the run has used and when it began.
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
  const rows = finish(blank, frames, view.status, now);
  const whole = before.length === 0 ? rows : finish(blank, [...before, ...frames], view.status, now);
  return {
    ...view,
    items: keep(view.items, rows.items.map(unseen)),
    runId: whole.runId ?? view.runId,
    title: whole.title ?? view.title,
    plan: whole.plan ?? view.plan,
    artifacts: whole.artifacts,
    spent: whole.spent,
    limits: whole.limits,
    runStartedAt: whole.runStartedAt,
    waitingFor: whole.waitingFor,
    firstSeq: frames[0]?.seq ?? view.firstSeq
  };
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

function limitsOf(research: Record<string, unknown>): Limits {
  const budget = recordOf(research.budget);
  return {
    usd: numberIn(budget, 'usd'),
    minutes: numberIn(budget, 'minutes'),
    turns: numberIn(budget, 'turns')
  };
}

function pendingOf(queue: readonly Record<string, unknown>[]): Pending[] {
  return queue.map(one => ({
    id: textIn(one, 'id'),
    content: textIn(one, 'content'),
    kind: textIn(one, 'kind')
  }));
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

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** A view while a batch is taken in. */
class Draft {
  private view: Writable<SessionView>;
  private items: Item[] | null = null;
  private changed = false;

  constructor(
    private readonly before: SessionView,
    private readonly now: number
  ) {
    this.view = { ...before };
  }

  done(): SessionView {
    if (!this.changed) {
      return this.before;
    }
    if (this.items !== null) {
      this.view.items = this.items;
    }
    return this.view;
  }

  /** The session is in this state, whatever its events have said: the end of a history. */
  settle(status: Status): void {
    this.changed = true;
    this.view.status = status;
    if (status !== 'running' && status !== 'stopping') {
      this.view.live = null;
    }
    if (status !== 'unknown' && !AT_WORK.has(status)) {
      this.view.runStartedAt = null;
      this.closeAll();
    }
  }

  take(frame: p.EventFrame): void {
    if (frame.seq <= this.view.lastSeq) {
      return;
    }
    this.changed = true;
    this.view.lastSeq = frame.seq;
    if (this.view.firstSeq === 0) {
      this.view.firstSeq = frame.seq;
    }
    this.event(frame);
  }

  // --- the list of items ---

  private list(): Item[] {
    this.items ??= this.view.items.slice();
    return this.items;
  }

  private find(key: string): number {
    const items = this.list();
    for (let i = items.length - 1; i >= 0; i--) {
      if (items[i]?.key === key) {
        return i;
      }
    }
    return -1;
  }

  /**
   * Add an item: in the order in which items began, so that a replay, in which text comes whole and late, has the same
   * order as what was seen live; and before what waits to be acknowledged.
   */
  private add(item: Item): void {
    const items = this.list();
    let at = items.length;
    while (at > 0 && (isOutgoing(items[at - 1] as Item) || (items[at - 1] as Item).seq > item.seq)) {
      at -= 1;
    }
    items.splice(at, 0, item);
  }

  /** The item of this kind and key, changed; or a new one. */
  private put<K extends Item['kind']>(
    kind: K,
    key: string,
    make: (known: Extract<Item, { kind: K }> | null) => Item
  ): void {
    const at = this.find(key);
    const known = at >= 0 ? (this.list()[at] as Item) : null;
    const item = make(known?.kind === kind ? (known as Extract<Item, { kind: K }>) : null);
    if (at >= 0) {
      this.list()[at] = item;
    } else {
      this.add(item);
    }
  }

  private base(frame: p.EventFrame, key: string, known?: Item | null) {
    const at = frame.ts ? Date.parse(frame.ts) : NaN;
    const began = 'replaces' in frame ? Number(frame.replaces?.[0]) || frame.seq : frame.seq;
    return {
      key,
      seq: known?.seq || began,
      at: known?.at ?? (Number.isNaN(at) ? null : at),
      runId: ('runId' in frame ? frame.runId : undefined) ?? known?.runId
    };
  }

  // --- events ---

  private event(frame: p.EventFrame): void {
    switch (frame.type) {
      case 'user_message':
        return this.userMessage(frame);
      case 'token':
        return this.put('text', `t:${frame.itemId}`, known => ({
          ...this.base(frame, `t:${frame.itemId}`, known),
          kind: 'text',
          content: (known?.content ?? '') + frame.delta,
          streaming: true,
          partial: false,
          citations: known?.citations ?? [],
          provider: known?.provider
        }));
      case 'assistant_message':
        return this.put('text', `t:${frame.itemId}`, known => ({
          ...this.base(frame, `t:${frame.itemId}`, known),
          kind: 'text',
          content: frame.content,
          streaming: false,
          partial: frame.partial ?? false,
          citations: (frame.citations ?? []).map(recordOf),
          provider: frame.provider
        }));
      case 'thinking':
        return this.put('thinking', `h:${frame.itemId}`, known => ({
          ...this.base(frame, `h:${frame.itemId}`, known),
          kind: 'thinking',
          content: frame.content ?? (known?.content ?? '') + (frame.delta ?? ''),
          streaming: frame.content === undefined,
          startedAt: known ? known.startedAt : frame.content === undefined ? this.now : null,
          endedAt: frame.content === undefined || known?.startedAt == null ? null : this.now
        }));
      case 'tool_input':
      case 'tool_use':
      case 'tool_output':
      case 'tool_result':
        return this.tool(frame);
      case 'agent_status':
        return this.status(frame);
      case 'plan':
        this.view.plan = frame.items;
        return;
      case 'cell':
        return this.cell(frame);
      case 'artifact':
        return this.artifact(frame);
      case 'question':
      case 'answered':
      case 'approval_request':
      case 'approval_resolved':
        return this.request(frame);
      case 'usage':
        return this.usage(frame);
      case 'context_summary':
        return this.notice(frame, 'summary', frame.content);
      case 'session_state':
        return this.state(frame);
      case 'queue_changed':
        this.view.queue = pendingOf(frame.pending);
        return;
      case 'result':
        if (frame.success && !frame.partial) {
          // Who ends the work in the last step of a plan has done that step; nothing says so in the log.
          this.view.plan =
            this.view.plan?.map(item => (item.state === 'active' ? { ...item, state: 'done' } : item)) ??
            null;
        }
        this.add({
          ...this.base(frame, `r:${frame.seq}`),
          kind: 'result',
          success: frame.success,
          cost: frame.cost ?? null,
          durationMs: frame.duration_ms,
          stopReason: frame.stop_reason,
          summary: frame.summary ?? '',
          partial: frame.partial ?? false,
          verdict: frame.verdict ?? null,
          artifacts: (frame.artifacts ?? {}) as Record<string, string>,
          provider: frame.provider,
          tokens: this.view.spent.tokensIn + this.view.spent.tokensOut || null
        });
        return;
      case 'error':
        this.add({
          ...this.base(frame, `e:${frame.seq}`),
          kind: 'error',
          code: frame.code,
          error: frame.error,
          next: frame.next ?? '',
          retryable: frame.retryable ?? false,
          ref: frame.ref
        });
        return;
      default:
        return; // an event of a newer server: it has its place in the log, and no row here
    }
  }

  private userMessage(frame: p.EventFrame & p.UserMessage): void {
    const key = `u:${frame.id}`;
    const at = this.find(key);
    if (at >= 0 && isOutgoing(this.list()[at] as Item)) {
      this.list().splice(at, 1);
    }
    this.put('user', key, known => ({
      ...this.base(frame, key, known),
      kind: 'user',
      id: frame.id,
      content: frame.content,
      by: frame.by,
      mode: frame.mode,
      agent: frame.agent,
      messageKind: frame.kind,
      research: frame.research
    }));
    if (frame.research && (frame.runId === undefined || frame.runId === this.view.runId)) {
      this.view.limits = limitsOf(frame.research);
    }
  }

  /** The limits of a run: those of the research that began it. A resumed run keeps those it had. */
  private limitsFor(run: string): Limits {
    const items = this.items ?? this.view.items;
    for (let i = items.length - 1; i >= 0; i--) {
      const item = items[i];
      if (item?.kind === 'user' && item.runId === run) {
        return item.research ? limitsOf(item.research) : NO_LIMITS;
      }
    }
    return this.view.limits;
  }

  private tool(frame: p.EventFrame & (p.ToolInput | p.ToolUse | p.ToolOutput | p.ToolResult)): void {
    const key = `c:${frame.toolId}`;
    this.put('tool', key, known => {
      const item: Writable<ToolItem> = known
        ? { ...known }
        : {
            ...this.base(frame, key),
            kind: 'tool',
            toolId: frame.toolId,
            name: '',
            title: '',
            input: null,
            inputText: '',
            status: 'asked',
            output: '',
            data: null,
            images: [],
            truncated: false,
            blob: null,
            durationMs: null,
            server: false,
            cells: []
          };
      switch (frame.type) {
        case 'tool_input':
          item.name = frame.toolName;
          item.inputText += frame.delta;
          item.status = 'writing';
          break;
        case 'tool_use':
          item.at ??= frame.ts ? Date.parse(frame.ts) : null;
          item.runId = frame.runId;
          item.name = frame.toolName;
          item.title = frame.title ?? '';
          item.risk = frame.risk;
          item.input = frame.toolInput;
          item.inputText = '';
          item.parent = frame.parent;
          item.server = frame.server ?? false;
          item.status = frame.partial ? 'cut' : frame.server ? 'running' : 'asked';
          break;
        case 'tool_output':
          item.output += frame.delta;
          item.status = 'running';
          break;
        case 'tool_result':
          item.name = frame.toolName ?? item.name;
          item.status = frame.ok ? 'ok' : 'failed';
          item.output = frame.content;
          item.data = frame.data ?? null;
          item.images = frame.images ?? [];
          item.truncated = frame.truncated ?? false;
          item.blob = frame.blob ?? null;
          item.durationMs = frame.duration_ms ?? null;
          item.parent = frame.parent ?? item.parent;
          break;
      }
      return item;
    });
  }

  private status(frame: p.EventFrame & p.AgentStatus): void {
    const known = this.view.live;
    if (this.view.status !== 'waiting') {
      this.view.live = {
        message: frame.message,
        phase: frame.phase,
        progress: frame.progress ?? null,
        since: known?.message === frame.message ? known.since : this.now
      };
    }
    if (frame.phase === 'retry') {
      this.notice(frame, 'retry', frame.message);
    } else if (frame.phase === 'resume') {
      this.notice(frame, 'resumed', frame.message);
    }
    this.begun(tool => tool.status === 'asked' && tool.title === frame.message);
  }

  /** The newest call that fits is at work now. */
  private begun(fits: (tool: ToolItem) => boolean): void {
    const items = this.list();
    for (let i = items.length - 1; i >= 0 && i > items.length - 40; i--) {
      const item = items[i] as Item;
      if (item.kind === 'tool' && fits(item)) {
        items[i] = { ...item, status: 'running' };
        return;
      }
    }
  }

  private cell(frame: p.EventFrame & p.Cell): void {
    const at = this.callOf(frame.runId);
    const tool = at < 0 ? undefined : this.list()[at];
    if (tool?.kind === 'tool') {
      const status = tool.status === 'asked' ? 'running' : tool.status;
      this.list()[at] = { ...tool, status, cells: mergeCells(tool.cells, cellOf(frame)) };
    }
  }

  /**
   * The call that runs the cells now. The server does not say which; calls are carried out one after the other, so it
   * is, of the last calls of this run, the first notebook tool without a result; else the last one; else the last call.
   */
  private callOf(run: string | undefined): number {
    const items = this.list();
    let open = -1;
    let notebook = -1;
    let last = -1;
    for (let i = items.length - 1; i >= 0 && i > items.length - 100; i--) {
      const item = items[i] as Item;
      // A call that is still being written is not carried out yet.
      if (item.kind !== 'tool' || item.status === 'writing' || (run !== undefined && item.runId !== run)) {
        continue;
      }
      last = last < 0 ? i : last;
      if (/(^|_)nb_/.test(item.name)) {
        notebook = notebook < 0 ? i : notebook;
        open = item.status === 'running' || item.status === 'asked' ? i : open;
      }
    }
    return open >= 0 ? open : notebook >= 0 ? notebook : last;
  }

  private artifact(frame: p.EventFrame & p.Artifact): void {
    const { artifact, path, url, title, data } = frame;
    const made: Artifact = { artifact, path, url, title, data };
    this.view.artifacts = { ...this.view.artifacts, [artifact]: made };
    if (artifact === 'commit') {
      this.add({
        ...this.base(frame, `k:${frame.seq}`),
        kind: 'checkpoint',
        commit: textIn(recordOf(data), 'commit'),
        title: title ?? ''
      });
    }
  }

  private request(
    frame: p.EventFrame & (p.Question | p.Answered | p.ApprovalRequest | p.ApprovalResolved)
  ): void {
    const key = `q:${frame.requestId}`;
    const waiting = this.view.waitingFor.filter(id => id !== frame.requestId);
    switch (frame.type) {
      case 'question':
        this.view.waitingFor = [...waiting, frame.requestId];
        return this.put('question', key, () => ({
          ...this.base(frame, key),
          kind: 'question',
          requestId: frame.requestId,
          question: frame.question,
          options: frame.options ?? [],
          deadline: frame.deadline ? Date.parse(frame.deadline) : null,
          where: frame.where,
          answer: null,
          by: null,
          decision: null
        }));
      case 'approval_request':
        this.view.waitingFor = [...waiting, frame.requestId];
        return this.put('approval', key, () => ({
          ...this.base(frame, key),
          kind: 'approval',
          requestId: frame.requestId,
          what: frame.what,
          where: frame.where,
          toolId: frame.toolId,
          toolName: frame.toolName,
          risk: frame.risk,
          deadline: frame.deadline ? Date.parse(frame.deadline) : null,
          decision: null,
          scope: null,
          by: null
        }));
      default: {
        this.view.waitingFor = waiting;
        const at = this.find(key);
        const item = this.list()[at];
        if (item?.kind === 'question' && frame.type === 'answered') {
          const { answer, by, decision } = frame;
          this.list()[at] = { ...item, answer, by, decision: decision ?? null };
        } else if (item?.kind === 'approval' && frame.type === 'approval_resolved') {
          const { decision, by, scope } = frame;
          this.list()[at] = { ...item, decision, by, scope: scope ?? null };
        }
      }
    }
  }

  private usage(frame: p.EventFrame & p.Usage): void {
    const { spent } = this.view;
    const tokens = frame.tokens as Record<string, number>;
    const output = tokens.output_tokens ?? 0;
    const all = Object.entries(tokens).reduce((sum, [name, n]) => (COUNTED.has(name) ? sum + n : sum), 0);
    const cost = frame.cost ?? null;
    this.view.spent = {
      tokensIn: spent.tokensIn + all - output,
      tokensOut: spent.tokensOut + output,
      cost: cost === null ? spent.cost : (spent.cost ?? 0) + cost,
      estimated: spent.estimated || cost === null || frame.estimated === true
    };
  }

  private notice(
    frame: p.EventFrame,
    notice: 'retry' | 'summary' | 'resumed' | 'stopped' | 'interrupted',
    text: string
  ): void {
    this.add({ ...this.base(frame, `n:${frame.seq}`), kind: 'notice', notice, text });
  }

  private state(frame: p.EventFrame & p.SessionState): void {
    const { view } = this;
    // A new title or model says the state again: that is no news.
    const news = statusOf(frame.status) !== view.status;
    view.status = statusOf(frame.status);
    view.reason = frame.reason ?? (news ? null : view.reason);
    view.title = frame.title ?? view.title;
    const working = AT_WORK.has(frame.status);
    if (working && frame.runId && frame.runId !== view.runId) {
      view.runId = frame.runId;
      view.spent = NOTHING_SPENT;
      view.limits = this.limitsFor(frame.runId);
      view.runStartedAt = null;
    }
    if (frame.status === 'starting' || frame.status === 'running') {
      view.runStartedAt ??= frame.ts ? Date.parse(frame.ts) : this.now;
    }
    if (frame.status !== 'running' && frame.status !== 'stopping') {
      view.live = null;
    }
    if (!working) {
      view.runStartedAt = null;
      this.closeAll();
    }
    if (!news) {
      return;
    }
    if (frame.status === 'stopped' && frame.reason === 'user') {
      this.notice(frame, 'stopped', '');
    } else if (frame.status === 'interrupted' || (frame.status === 'stopped' && frame.reason === 'crash')) {
      this.notice(frame, 'interrupted', '');
    }
  }

  /** Nothing is at work any more: what was open is cut off, and nothing spins. */
  private closeAll(): void {
    const items = this.list();
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as Item;
      if (item.kind === 'text' && item.streaming) {
        items[i] = { ...item, streaming: false, partial: true };
      } else if (item.kind === 'thinking' && item.streaming) {
        items[i] = { ...item, streaming: false, endedAt: this.now };
      } else if (
        item.kind === 'tool' &&
        (item.status === 'writing' || item.status === 'asked' || item.status === 'running')
      ) {
        items[i] = { ...item, status: 'cut' };
      }
    }
  }
}

/** Tokens that are counted once each; other figures of a provider say the same again in another way. */
const COUNTED = new Set([
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_input_tokens'
]);
