import { describe, expect, it } from 'vitest';

import type { SessionView, UserItem } from '../../../model';
import { emptyView } from '../../../store/reduce';
import type { Message } from '../rooms';
import {
  NO_FILTERS,
  byActivity,
  counts,
  filtered,
  filtersFrom,
  hints,
  legalRoom,
  merged,
  messagesOf,
  seenFrom,
  toggled,
  unread
} from '../rooms';

const said = (seq: number, agent: string, kind: string, at: number | null = seq, room = 'lab'): Message => ({
  key: `${room}\n${seq}`,
  room,
  seq,
  at,
  agent,
  kind,
  content: `${agent} ${seq}`
});

const LOG = [said(1, 'a', 'note'), said(2, 'b', 'status'), said(3, 'a', 'status'), said(4, 'c', 'deploy')];
const seqs = (messages: readonly Message[]) => messages.map(message => message.seq);

describe('filters', () => {
  it('let through what is chosen: any of the agents and any of the kinds', () => {
    expect(filtered(LOG, NO_FILTERS)).toBe(LOG);
    expect(seqs(filtered(LOG, { agents: ['a', 'c'], kinds: [] }))).toEqual([1, 3, 4]);
    expect(seqs(filtered(LOG, { agents: [], kinds: ['status', 'deploy'] }))).toEqual([2, 3, 4]);
    expect(seqs(filtered(LOG, { agents: ['a'], kinds: ['status'] }))).toEqual([3]);
  });

  it('count what a click would show', () => {
    const { agents, kinds } = counts(LOG, { agents: ['gone'], kinds: ['status'] });
    expect(agents).toEqual([
      { value: 'a', count: 1 },
      { value: 'b', count: 1 },
      { value: 'c', count: 0 },
      { value: 'gone', count: 0 }
    ]);
    expect(kinds.every(one => one.count === 0)).toBe(true);
    expect(counts(LOG, { agents: ['a'], kinds: [] }).kinds).toEqual([
      { value: 'note', count: 1 },
      { value: 'status', count: 1 },
      { value: 'deploy', count: 0 }
    ]);
  });

  it('are switched and restored', () => {
    expect(toggled(['a'], 'b')).toEqual(['a', 'b']);
    expect(toggled(['a', 'b'], 'a')).toEqual(['b']);
    expect(filtersFrom({ agents: ['a', 3], kinds: 'x' })).toEqual({ agents: ['a'], kinds: [] });
    expect(filtersFrom(null)).toEqual(NO_FILTERS);
    expect(filtersFrom('x')).toEqual(NO_FILTERS);
  });
});

describe('messages', () => {
  const item = (seq: number, more: Partial<UserItem> = {}): UserItem => ({
    kind: 'user',
    key: `u${seq}`,
    seq,
    at: seq,
    id: `m${seq}`,
    content: 'x',
    by: 'local',
    ...more
  });

  it('are those of a view, and the same objects until something comes', () => {
    const view: SessionView = {
      ...emptyView('room:lab'),
      items: [item(1, { agent: 'codex', messageKind: 'result' }), item(2)]
    };
    const messages = messagesOf('lab', view);
    expect(messages.map(one => [one.agent, one.kind])).toEqual([
      ['codex', 'result'],
      ['local', 'note']
    ]);
    expect(messagesOf('lab', { ...view, status: 'running' })).toBe(messages);
    expect(messagesOf('lab', undefined)).toEqual([]);
  });

  it('of several rooms come by time; what is being sent comes last', () => {
    const other = [said(1, 'x', 'note', 2, 'b'), said(2, 'x', 'note', null, 'b')];
    const all = merged([[said(1, 'a', 'note', 1), said(2, 'a', 'note', 3)], other]);
    expect(all.map(one => one.key)).toEqual(['lab\n1', 'b\n1', 'lab\n2', 'b\n2']);
  });

  it('of one room stay in the order of its log', () => {
    const log = [said(1, 'a', 'note', 9), said(2, 'a', 'note', 5)];
    expect(merged([log])).toBe(log);
  });
});

describe('the list', () => {
  const room = { room: 'lab', id: 'room:lab', messages: 5, last: '2026-11-21T09:00:00Z' };

  it('counts what was not seen', () => {
    expect(unread(room, 0, {})).toBe(5);
    expect(unread(room, 7, { lab: 4 })).toBe(3);
    expect(unread(room, 0, { lab: 5 })).toBe(0);
    expect(unread(room, 0, { lab: 50 })).toBe(5);
    expect(seenFrom({ lab: 3, other: 'x' })).toEqual({ lab: 3 });
    expect(seenFrom(null)).toEqual({});
  });

  it('begins with the newest', () => {
    const old = { ...room, room: 'old', last: '2026-11-20T09:00:00Z' };
    expect(byActivity([old, room]).map(one => one.room)).toEqual(['lab', 'old']);
  });

  it('takes the names that the server takes', () => {
    expect(['lab', 'a b', 'Ü-1.x_y'].every(legalRoom)).toBe(true);
    expect(['', ' a', 'a/b', '*', 'a\n', 'x'.repeat(60)].some(legalRoom)).toBe(false);
  });
});

it('what an agent types is safe to paste', () => {
  const { cli, curl } = hints('our lab', 'http://localhost/postdoc/api/messages');
  expect(cli).toContain("post 'our lab' ");
  expect(curl).toContain('"room":"our lab"}\' http://localhost/postdoc/api/messages');
  expect(curl).toContain('token $JUPYTER_TOKEN');
});
