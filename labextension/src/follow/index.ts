/**
 * The widget of a notebook cell: one card with the last status of a session, in Jupyter and in marimo. Plain DOM, text
 * only: whatever an agent says stays text. The kernel keeps `status` up to date; this draws it.
 */
import './follow.css';

interface Status {
  chat: string;
  title: string;
  state: string;
  reason: string | null;
  line: string;
  progress: number | null;
  plan: { text: string; state: string }[];
  text: string;
  questions: string[];
  cost: number | null;
  tokens: number;
  /** UNIX seconds. */
  began: number | null;
  ended: number | null;
  result: {
    success: boolean;
    summary: string;
    duration_ms: number;
    verdict: Record<string, unknown>;
    provider: string | null;
  } | null;
  error: { error: string; next: string } | null;
  problem: { error: string; next: string } | null;
  live: boolean;
  updated: number;
}

interface Model {
  get(name: 'status'): Status;
  on(event: 'change:status', listener: () => void): void;
  off(event: 'change:status', listener: () => void): void;
}

const STATES: Record<string, [string, string]> = {
  queued: ['◷', 'Queued'],
  starting: ['◌', 'Preparing workspace…'],
  running: ['◌', 'Running'],
  waiting: ['✋', 'Needs your answer'],
  paused: ['✋', 'Needs your answer'],
  stopping: ['◌', 'Stopping after the current step…'],
  finished: ['✓', 'Finished'],
  stopped: ['■', 'Stopped'],
  error: ['✗', 'Failed'],
  interrupted: ['⚡', 'The server restarted during this run']
};
const SIGNS: Record<string, string> = { pending: '☐', active: '▣', done: '☑', failed: '✗', skipped: '–' };
/** Without news for so long (seconds) a session at work is said to be of a certain time, not of now. */
const STALE_S = 45;

function element(tag: string, name: string, text?: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = name;
  if (text !== undefined) {
    made.textContent = text;
  }
  return made;
}

function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function figure(value: unknown): string {
  return typeof value === 'number' ? String(Number(value.toPrecision(4))) : '?';
}

/** The verdict in one sentence; "" when there is none. */
export function verdictText(verdict: Record<string, unknown>): string {
  if (typeof verdict.claim !== 'string') {
    return '';
  }
  const word =
    verdict.supported === true ? 'Supported' : verdict.supported === false ? 'Not supported' : 'Undecided';
  const unit = typeof verdict.unit === 'string' ? ` ${verdict.unit}` : '';
  const estimate =
    typeof verdict.estimate === 'number'
      ? ` Estimate ${figure(verdict.estimate)}${unit} (95 % interval ${figure(verdict.ci_low)} to ${figure(verdict.ci_high)}).`
      : '';
  return `${word}: ${verdict.claim}${estimate}`;
}

/** The small line of figures. `now` is UNIX seconds. */
export function figures(status: Status, now: number): string {
  const parts: string[] = [];
  if (status.began !== null) {
    parts.push(clock((status.ended ?? (status.live ? now : status.updated)) - status.began));
  }
  if (status.tokens > 0) {
    parts.push(`${status.tokens.toLocaleString()} tokens`);
  }
  if (status.cost !== null) {
    parts.push(`$${status.cost.toFixed(2)}`);
  }
  if (status.result?.provider === 'template') {
    parts.push('made by a research template, no language model took part');
  }
  const stale = !status.live || now - status.updated > STALE_S;
  if (stale) {
    parts.push(`as of ${new Date(status.updated * 1000).toLocaleString()}`);
  }
  return parts.join(' · ');
}

/** The card for a status. */
export function card(status: Status, now: number): HTMLElement {
  const root = element('section', `postdoc-follow postdoc-${status.state}`);
  root.setAttribute('aria-label', `Session ${status.title || status.chat}`);
  const head = element('header', 'postdoc-head');
  head.append(element('strong', 'postdoc-title', status.title || status.chat));
  const [sign, word] = STATES[status.state] ?? ['?', status.problem ? 'Not followed' : 'Unknown state'];
  const state = element('span', 'postdoc-state');
  const icon = element('span', 'postdoc-sign', sign);
  icon.setAttribute('aria-hidden', 'true');
  state.append(icon, ` ${word}`);
  head.append(state);
  root.append(head);

  if (status.problem !== null) {
    const trouble = element('p', 'postdoc-problem', `${status.problem.error} ${status.problem.next}`.trim());
    trouble.setAttribute('role', 'alert');
    root.append(trouble);
  }
  if (status.line !== '') {
    const line = element('p', 'postdoc-line', status.line);
    line.setAttribute('role', 'status');
    root.append(line);
  }
  if (status.progress !== null && status.live) {
    const bar = document.createElement('progress');
    bar.max = 1;
    bar.value = status.progress;
    bar.setAttribute('aria-label', 'Progress');
    root.append(bar);
  }
  for (const question of status.questions) {
    root.append(element('p', 'postdoc-question', `It asks: ${question} Answer in the Research panel.`));
  }
  if (status.plan.length > 0) {
    const list = element('ol', 'postdoc-plan');
    for (const item of status.plan) {
      const row = element('li', `postdoc-${item.state}`);
      const mark = element('span', 'postdoc-sign', SIGNS[item.state] ?? '☐');
      mark.setAttribute('role', 'img');
      mark.setAttribute('aria-label', item.state);
      row.append(mark, ` ${item.text}`);
      list.append(row);
    }
    root.append(list);
  }
  const verdict = status.result === null ? '' : verdictText(status.result.verdict);
  if (verdict !== '') {
    root.append(element('p', 'postdoc-verdict', verdict));
  }
  if (status.error !== null && status.result?.success !== true) {
    root.append(element('p', 'postdoc-problem', `${status.error.error} ${status.error.next}`.trim()));
  }
  const said = status.result?.summary || status.text;
  if (said !== '') {
    root.append(element('p', 'postdoc-text', said));
  }
  root.append(element('p', 'postdoc-figures', figures(status, now)));
  return root;
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const draw = () => {
    const status = model.get('status');
    if (status && typeof status.chat === 'string') {
      el.replaceChildren(card(status, Date.now() / 1000));
    }
  };
  // Between two news only the clock goes on.
  const timer = window.setInterval(() => {
    const line = el.querySelector('.postdoc-figures');
    if (line !== null) {
      line.textContent = figures(model.get('status'), Date.now() / 1000);
    }
  }, 1000);
  model.on('change:status', draw);
  draw();
  return () => {
    window.clearInterval(timer);
    model.off('change:status', draw);
  };
}

export default { render };
