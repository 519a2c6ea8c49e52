/** The order in which the list shows sessions, and what is counted of them. Pure. */
import type { ChatInfo, State, Status } from '../../model';
import { statusOf } from '../../store/status';

export type GroupName = 'needs' | 'active' | 'recent' | 'archived';
/** What a chip above the list lets through. */
export type Chip = 'all' | 'needs' | 'active' | 'finished' | 'failed';

export interface Group {
  readonly name: GroupName;
  readonly sessions: readonly ChatInfo[];
}

const GROUPS: readonly GroupName[] = ['needs', 'active', 'recent', 'archived'];
const ACTIVE: ReadonlySet<Status> = new Set<Status>(['queued', 'starting', 'running', 'stopping']);
const FAILED: ReadonlySet<Status> = new Set<Status>(['error', 'interrupted', 'stopped']);

/** Whether a session waits for the user. */
export function needsUser(info: ChatInfo): boolean {
  const status = statusOf(info.state);
  return info.needs > 0 || status === 'waiting' || status === 'paused';
}

/** Where a session belongs. */
export function groupOf(info: ChatInfo): GroupName {
  if (info.archived) {
    return 'archived';
  }
  if (needsUser(info)) {
    return 'needs';
  }
  return ACTIVE.has(statusOf(info.state)) ? 'active' : 'recent';
}

/** The sessions of the list: rooms have a view of their own. */
export function listed(sessions: State['sessions']): ChatInfo[] {
  return Object.values(sessions ?? {}).filter(info => info.kind !== 'room');
}

/** Whether a chip lets a session through. Archived sessions are kept apart and pass every chip but by their state. */
export function passes(info: ChatInfo, chip: Chip): boolean {
  const status = statusOf(info.state);
  switch (chip) {
    case 'all':
      return true;
    case 'needs':
      return needsUser(info);
    case 'active':
      return ACTIVE.has(status) && !needsUser(info);
    case 'finished':
      return status === 'finished';
    case 'failed':
      return FAILED.has(status);
  }
}

/** Whether each word of the query is in the title, the line or the template, in any case. */
export function matches(info: ChatInfo, query: string, templateTitle = ''): boolean {
  const text = [info.title, info.line, info.template, templateTitle]
    .filter(Boolean)
    .join('\n')
    .toLocaleLowerCase();
  return query
    .toLocaleLowerCase()
    .split(/\s+/)
    .every(word => text.includes(word));
}

/**
 * The groups in their order, those without sessions left out. What works stays where it is while its line changes (by
 * the time at which it was made); what rests is by the time of its last change.
 */
export function grouped(sessions: readonly ChatInfo[]): Group[] {
  const byName = new Map<GroupName, ChatInfo[]>(GROUPS.map(name => [name, []]));
  for (const info of sessions) {
    byName.get(groupOf(info))?.push(info);
  }
  return GROUPS.flatMap(name => {
    const found = byName.get(name) ?? [];
    return found.length === 0 ? [] : [{ name, sessions: found.sort(name === 'active' ? byMade : byChanged) }];
  });
}

function byMade(a: ChatInfo, b: ChatInfo): number {
  return compare(b.createdAt, a.createdAt) || compare(a.id, b.id);
}

function byChanged(a: ChatInfo, b: ChatInfo): number {
  return compare(b.updatedAt, a.updatedAt) || compare(a.id, b.id);
}

// Times come from one server in one form (ISO 8601, UTC), so they sort as text.
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** How many sessions each chip would show. */
export function chipCounts(sessions: readonly ChatInfo[]): Record<Chip, number> {
  const counts: Record<Chip, number> = { all: 0, needs: 0, active: 0, finished: 0, failed: 0 };
  for (const info of sessions) {
    if (!info.archived) {
      for (const chip of Object.keys(counts) as Chip[]) {
        counts[chip] += passes(info, chip) ? 1 : 0;
      }
    }
  }
  return counts;
}

/**
 * The session `delta` places after this one in the list (before, when negative), or null at its ends. Without a
 * session, or from one that is not in the list, it is the first or the last. Archived sessions are passed over.
 */
export function neighbour(state: State, id: string | null, delta: number): string | null {
  const order = grouped(listed(state.sessions).filter(info => !info.archived)).flatMap(
    group => group.sessions
  );
  const at = order.findIndex(info => info.id === id);
  const to = at >= 0 ? at + delta : delta > 0 ? 0 : order.length - 1;
  return order[to]?.id ?? null;
}

/** How many sessions need the user. */
export function badge(state: State): number {
  return listed(state.sessions).filter(info => !info.archived && needsUser(info)).length;
}

/**
 * How many sessions are at work or wait for the user, and what they have cost so far in US dollars (null when none of
 * them has a price).
 */
export function activeSummary(state: State): { running: number; cost: number | null } {
  let running = 0;
  let cost: number | null = null;
  for (const info of listed(state.sessions)) {
    const group = groupOf(info);
    if (group === 'needs' || group === 'active') {
      running += 1;
      // An older server does not tell the cost.
      cost = typeof info.cost === 'number' ? (cost ?? 0) + info.cost : cost;
    }
  }
  return { running, cost };
}
