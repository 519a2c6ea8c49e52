/** What the card says, as text. Everything in the status was said by an agent: it stays text. */

export interface Link {
  text: string;
  url: string;
  /** Of a page of the session's own server: what that server calls it. */
  path?: string;
}

/** What the kernel keeps up to date (`follow/summary.py`). */
export interface Status {
  chat: string;
  title: string;
  state: string;
  reason: string | null;
  line: string;
  progress: number | null;
  plan: { text: string; state: string }[];
  text: string;
  questions: string[];
  /** US dollars; null: unknown. */
  cost: number | null;
  tokens: number;
  /** UNIX seconds. */
  began: number | null;
  ended: number | null;
  result: {
    success: boolean;
    summary: string;
    verdict: Record<string, unknown>;
    provider: string | null;
  } | null;
  error: Trouble | null;
  links?: Link[];
  /** Why it cannot be followed now. */
  problem: Trouble | null;
  live: boolean;
  updated: number;
}

export interface Trouble {
  error: string;
  next: string;
}

const BUSY = '◌';
/** A sign that every font has, and words; `state/reason` before `state`. */
const STATES = new Map<string, readonly [string, string]>([
  ['queued', ['◷', 'Queued']],
  ['starting', [BUSY, 'Preparing workspace…']],
  ['running', [BUSY, 'Running']],
  ['waiting', ['?', 'Needs your answer']],
  ['paused', ['?', 'Needs your answer']],
  ['stopping', [BUSY, 'Stopping after the current step…']],
  ['finished/idle', ['✓', 'Ready']],
  ['finished', ['✓', 'Finished']],
  ['stopped/user', ['■', 'Stopped by you']],
  ['stopped', ['■', 'Stopped']],
  ['error', ['✗', 'Failed']],
  ['interrupted', ['!', 'Server restarted during this run']]
]);

/** The server keeps a request for 20 s at most: after so many seconds of silence the kernel is gone. */
const STALE_S = 45;

export function stateOf(status: Status): readonly [string, string] {
  const known = STATES.get(`${status.state}/${status.reason}`) ?? STATES.get(status.state);
  return known ?? ['!', status.problem === null ? 'Unknown state' : 'Not followed'];
}

/** Whether the kernel still follows. `now`: UNIX seconds. */
export function isLive(status: Status, now: number): boolean {
  return status.live && now - status.updated <= STALE_S;
}

/** m:ss, or h:mm:ss. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function figure(value: number): string {
  return String(Number(value.toPrecision(4)));
}

/** Two digits behind the point; four for less than a cent. */
function money(usd: number): string {
  return `$${usd.toFixed(usd > 0 && usd < 0.01 ? 4 : 2)}`;
}

/** The verdict in words; "" when there is none. */
export function verdictText(verdict: Record<string, unknown>): string {
  if (typeof verdict.claim !== 'string') {
    return '';
  }
  const word =
    verdict.supported === true ? 'Supported' : verdict.supported === false ? 'Not supported' : 'Undecided';
  if (typeof verdict.estimate !== 'number') {
    return `${word}: ${verdict.claim}`;
  }
  const unit = typeof verdict.unit === 'string' && verdict.unit !== '' ? ` ${verdict.unit}` : '';
  const interval =
    typeof verdict.ci_low === 'number' && typeof verdict.ci_high === 'number'
      ? ` (95 % interval ${figure(verdict.ci_low)} to ${figure(verdict.ci_high)})`
      : '';
  return `${word}: ${verdict.claim} Estimate ${figure(verdict.estimate)}${unit}${interval}.`;
}

/** The small line of figures: time, tokens, cost, and as of when if that is not now. */
export function figures(status: Status, now: number): string {
  const parts: string[] = [];
  const live = isLive(status, now);
  if (status.began !== null) {
    parts.push(clock((status.ended ?? (live ? now : status.updated)) - status.began));
  }
  if (status.tokens > 0) {
    parts.push(`${status.tokens.toLocaleString()} tokens`);
  }
  if (status.cost !== null) {
    parts.push(money(status.cost));
  }
  if (status.result?.provider === 'template') {
    parts.push('made by a research template, no language model took part');
  }
  if (!live) {
    parts.push(`as of ${new Date(status.updated * 1000).toLocaleString()}`);
  }
  return parts.join(' · ');
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** The part of the browser's `location` that matters. */
export interface Place {
  protocol: string;
  hostname: string;
}

/**
 * Where a link leads from the page that shows it; null: nowhere. `baseUrl` is that of the Jupyter server whose page it
 * is, if it is one: an address that only the kernel can reach is then replaced by the way the page itself came.
 */
export function hrefOf(link: Link, place: Place, baseUrl: string | null): string | null {
  if (link.path !== undefined && baseUrl !== null && link.path.startsWith(`${baseUrl}postdoc/`)) {
    return link.path;
  }
  let url: URL;
  try {
    url = new URL(link.url);
  } catch {
    return null;
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    return null;
  }
  const reachable = place.protocol === 'file:' || LOOPBACK.test(place.hostname);
  return LOOPBACK.test(url.hostname) && !reachable ? null : url.href;
}
