/** What every event does to a view. */
import type { Artifact, Item, Limits, Pending, Status } from '../model';
import { plainLine } from '../plain';
import type * as p from '../protocol';
import { Calls } from './calls';
import { numberIn, recordOf, textIn } from './parts';
import { newsOf, publicationOf } from './publication';
import { statusOf } from './status';
import { AT_WORK, NO_LIMITS, NOTHING_SPENT, isOutgoing } from './view';

/** A view while a batch is taken in: `take` each event, then `done`. */
export class Draft extends Calls {
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
      case 'publication':
        return this.publication(frame);
      case 'notebook':
        return this.notebook(frame);
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
        if (frame.success && this.isTold(frame.runId)) {
          return; // the line above says all of it
        }
        if (frame.success && !frame.partial && !this.publishes(frame)) {
          // Who ends the work in the last step of a plan has done that step; nothing says so in the log.
          this.view.plan =
            this.view.plan?.map(item => (item.state === 'active' ? { ...item, state: 'done' } : item)) ??
            null;
        }
        this.add({
          ...this.base(frame, `r:${frame.seq}`),
          kind: 'result',
          publishing: this.publishes(frame),
          followedBy: frame.followedBy ?? null,
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
          publishing: this.publishes(frame),
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

  private status(frame: p.EventFrame & p.AgentStatus): void {
    const known = this.view.live;
    if (this.view.status !== 'waiting') {
      this.view.live = {
        message: plainLine(frame.message),
        phase: frame.phase,
        progress: frame.progress ?? null,
        since: known?.message === plainLine(frame.message) ? known.since : this.now
      };
    }
    if (frame.phase === 'retry') {
      this.notice(frame, 'retry', frame.message);
    } else if (frame.phase === 'resume') {
      this.notice(frame, 'resumed', frame.message);
    }
    this.begun(tool => tool.status === 'asked' && tool.title === plainLine(frame.message));
  }

  private artifact(frame: p.EventFrame & p.Artifact): void {
    const { artifact, path, url, title, data } = frame;
    const known = this.view.artifacts[artifact];
    // The page of a repository or a branch is one more place where it is: the folder is still there.
    const made: Artifact =
      url !== undefined && known !== undefined
        ? { artifact, path: path ?? known.path, url, title: title ?? known.title, data: data ?? known.data }
        : { artifact, path, url: url ?? known?.url, title, data };
    this.view.artifacts = { ...this.view.artifacts, [artifact]: made };
    if (artifact === 'commit') {
      this.add({
        ...this.base(frame, `k:${frame.seq}`),
        kind: 'checkpoint',
        commit: textIn(recordOf(data), 'commit'),
        title: plainLine(title ?? '')
      });
    }
  }

  private publication(frame: p.EventFrame & p.Publication): void {
    const { view } = this;
    const known = view.publication;
    const made = publicationOf(frame, known);
    view.publication = made;
    if (frame.runId !== undefined && frame.runId === view.runId && view.before !== null) {
      // The run that publishes uses nothing: what the research has used and may use is still what matters.
      view.spent = view.before.spent;
      view.limits = view.before.limits;
      view.before = null;
    }
    if (known === null && view.hasMore) {
      return; // what was before is not loaded yet: whether this is news cannot be told
    }
    newsOf(known, made).forEach(what => {
      const key = `p:${frame.seq}:${what}`;
      this.add({
        ...this.base(frame, key),
        kind: 'publication',
        what,
        repository: made.repository?.name ?? '',
        number: made.pull?.number ?? null,
        url:
          (what.startsWith('checks_') && made.pull?.checks.url) ||
          made.pull?.url ||
          made.repository?.url ||
          ''
      });
    });
  }

  private notebook(frame: p.EventFrame & p.Notebook): void {
    const { view } = this;
    const known = view.notebook;
    const { state, hand, path } = frame;
    const made = { state, hand, path, holder: plainLine(frame.holder), message: plainLine(frame.message) };
    view.notebook = made;
    if (hand === (known?.hand ?? 'agent') || (known === null && view.hasMore)) {
      return; // nobody else has it than before; or what was before is not loaded yet
    }
    if (hand === 'person') {
      this.notice(frame, 'taken', made.holder);
    } else {
      this.notice(frame, 'given', made.holder || (known?.holder ?? ''));
    }
  }

  /** Whether a line of the timeline says already that this run has published. */
  private isTold(run: string | undefined): boolean {
    const items = this.list();
    for (let i = items.length - 1; run !== undefined && i >= 0 && i > items.length - 40; i--) {
      const item = items[i] as Item;
      if (item.kind === 'publication' && item.what === 'published' && item.runId === run) {
        return true;
      }
    }
    return false;
  }

  /** Whether the event is of a run that only publishes. */
  private publishes(frame: { runId?: string; stop_reason?: string }): boolean {
    return (
      frame.stop_reason === 'published' ||
      (frame.runId !== undefined && frame.runId === this.view.publication?.runId)
    );
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

  private state(frame: p.EventFrame & p.SessionState): void {
    const { view } = this;
    // A new title or model says the state again: that is no news.
    const news = statusOf(frame.status) !== view.status;
    view.status = statusOf(frame.status);
    view.reason = frame.reason ?? (news ? null : view.reason);
    view.title = frame.title ? plainLine(frame.title) : view.title;
    const working = AT_WORK.has(frame.status);
    if (working && frame.runId && frame.runId !== view.runId) {
      view.runId = frame.runId;
      view.before = { spent: view.spent, limits: view.limits };
      view.spent = NOTHING_SPENT;
      view.limits = this.limitsFor(frame.runId);
      view.runStartedAt = null;
    }
    if (frame.status !== 'queued' && view.queue.some(one => one.runId === frame.runId)) {
      // A run that has begun waits no longer, whoever saw it wait.
      view.queue = view.queue.filter(one => one.runId !== frame.runId);
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
}

function limitsOf(research: Record<string, unknown>): Limits {
  const budget = recordOf(research.budget);
  return {
    usd: numberIn(budget, 'usd'),
    minutes: numberIn(budget, 'minutes'),
    turns: numberIn(budget, 'turns')
  };
}

/** The messages that wait their turn. */
export function pendingOf(queue: readonly Record<string, unknown>[]): Pending[] {
  return queue.map(one => ({
    id: textIn(one, 'id'),
    content: textIn(one, 'content'),
    kind: textIn(one, 'kind'),
    runId: textIn(one, 'runId')
  }));
}

/** Tokens that are counted once each; other figures of a provider say the same again in another way. */
const COUNTED = new Set([
  'input_tokens',
  'output_tokens',
  'cache_read_input_tokens',
  'cache_creation_input_tokens'
]);
