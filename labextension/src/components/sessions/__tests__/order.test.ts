import { describe, expect, it } from 'vitest';

import type { State } from '../../../model';
import { EMPTY_STATE } from '../../../store';
import { activeSummary, badge, chipCounts, grouped, listed, matches, neighbour, passes } from '../order';
import { isUnread } from '../seen';
import { chat } from './desk';

const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString();
const waiting = chat({ id: 'waiting', state: 'waiting', needs: 1, updatedAt: at(1), cost: 0.5 });
const asking = chat({ id: 'asking', state: 'running', needs: 2, updatedAt: at(2) });
const older = chat({ id: 'older', state: 'running', createdAt: at(1), updatedAt: at(9), cost: 0.25 });
const newer = chat({ id: 'newer', state: 'queued', createdAt: at(2), updatedAt: at(3) });
const done = chat({ id: 'done', updatedAt: at(4), title: 'Momentum', line: 'Supported', template: 'signal' });
const failed = chat({ id: 'failed', state: 'error', updatedAt: at(5) });
const odd = chat({ id: 'odd', state: 'dreaming', updatedAt: at(3) });
const old = chat({ id: 'old', archived: true, state: 'waiting', needs: 1 });
const room = chat({ id: 'room:lab', kind: 'room', needs: 1 });

function state(...chats: ReturnType<typeof chat>[]): State {
  return { ...EMPTY_STATE, sessions: Object.fromEntries(chats.map(one => [one.id, one])) };
}
const ALL = state(done, old, newer, failed, room, waiting, odd, asking, older);

describe('the order of the list', () => {
  it('groups what needs the user, what is at work, what rests, and what is archived; no rooms', () => {
    const ids = grouped(listed(ALL.sessions)).map(group => [
      group.name,
      ...group.sessions.map(one => one.id)
    ]);
    expect(ids).toEqual([
      ['needs', 'asking', 'waiting'],
      ['active', 'newer', 'older'], // by when they were made: a new line moves no row
      ['recent', 'failed', 'done', 'odd'],
      ['archived', 'old']
    ]);
    expect(grouped([])).toEqual([]);
  });

  it('knows the neighbours in that order, and where it ends', () => {
    expect(neighbour(ALL, 'waiting', 1)).toBe('newer');
    expect(neighbour(ALL, 'newer', -1)).toBe('waiting');
    expect(neighbour(ALL, 'older', 2)).toBe('done');
    expect(neighbour(ALL, 'odd', 1)).toBeNull();
    expect(neighbour(ALL, 'asking', -1)).toBeNull();
    expect(neighbour(ALL, null, 1)).toBe('asking');
    expect(neighbour(ALL, 'old', -1)).toBe('odd');
    expect(neighbour(EMPTY_STATE, null, 1)).toBeNull();
  });

  it('counts what needs the user, what runs and what it costs', () => {
    expect(badge(ALL)).toBe(2);
    expect(activeSummary(ALL)).toEqual({ running: 4, cost: 0.75 });
    expect(activeSummary(state(newer))).toEqual({ running: 1, cost: null });
    const untold = { ...older, cost: undefined as unknown as null };
    expect(activeSummary(state(untold))).toEqual({ running: 1, cost: null });
    expect(activeSummary(EMPTY_STATE)).toEqual({ running: 0, cost: null });
  });

  it('filters by every word, in any case, over title, line and template', () => {
    expect(matches(done, 'MOMENT supp')).toBe(true);
    expect(matches(done, 'signal')).toBe(true);
    expect(matches(done, 'study', 'A study of signals')).toBe(true);
    expect(matches(done, 'momentum reversal')).toBe(false);
  });

  it('counts for each chip what it lets through', () => {
    const sessions = listed(ALL.sessions);
    expect(chipCounts(sessions)).toEqual({ all: 7, needs: 2, active: 2, finished: 1, failed: 1 });
    expect(passes(asking, 'active')).toBe(false); // it is in one place only
  });
});

describe('unread', () => {
  const since = Date.parse(at(0));
  it('is what came to rest after it was last seen', () => {
    expect(isUnread(done, { since, seqs: {} })).toBe(true);
    expect(isUnread(done, { since, seqs: { done: 10 } })).toBe(false);
    expect(isUnread(done, { since, seqs: { done: 9 } })).toBe(true);
    expect(isUnread(failed, { since, seqs: {} })).toBe(true);
  });

  it('is nothing that still runs, that was there before, or of which nobody knows yet', () => {
    expect(isUnread(older, { since, seqs: {} })).toBe(false);
    expect(isUnread(done, { since: Date.parse(at(5)), seqs: {} })).toBe(false);
    expect(isUnread(done, null)).toBe(false);
  });
});
