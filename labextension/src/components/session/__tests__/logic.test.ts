import { describe, expect, it } from 'vitest';

import { emptyView } from '../../../store/reduce';
import type { Item, SessionView, Status } from '../../../model';
import { againRoute } from '../again';
import { sends } from '../keys';
import { costText, liveText } from '../LiveLine';
import { atEnd, firstBelow, follows, newSince } from '../stick';
import { question } from './bench';

const trans = {
  __: (text: string, ...args: unknown[]) =>
    text.replace(/%(\d)/g, (_, n: string) => String(args[Number(n) - 1])),
  _n: (one: string) => one
};

describe('the reader’s place', () => {
  it('is the end only within 40 pixels of it', () => {
    expect(atEnd({ scrollTop: 460, scrollHeight: 1000, clientHeight: 500 })).toBe(true);
    expect(atEnd({ scrollTop: 459, scrollHeight: 1000, clientHeight: 500 })).toBe(false);
  });

  it('is left by scrolling up, not by something that grows at the end', () => {
    expect(follows(true, 500, { scrollTop: 300, scrollHeight: 1000, clientHeight: 500 })).toBe(false);
    expect(follows(true, 500, { scrollTop: 500, scrollHeight: 1300, clientHeight: 500 })).toBe(true);
    expect(follows(false, 100, { scrollTop: 200, scrollHeight: 1000, clientHeight: 500 })).toBe(false);
    expect(follows(false, 400, { scrollTop: 480, scrollHeight: 1000, clientHeight: 500 })).toBe(true);
  });

  it('knows how many items came since', () => {
    const items = ['a', 'b', 'c', 'd'].map(key => ({ key }));
    expect(newSince(items, null)).toBe(0);
    expect(newSince(items, 'b')).toBe(2);
    expect(newSince(items, 'd')).toBe(0);
    expect(newSince(items, 'gone')).toBe(4);
  });

  it('finds the first row in view', () => {
    const bottoms = [10, 30, 60, 100];
    const find = (edge: number) => firstBelow(4, i => bottoms[i] as number, edge);
    expect([find(0), find(10), find(59), find(60), find(100)]).toEqual([0, 1, 2, 3, 4]);
  });
});

describe('keys', () => {
  const key = (change: object) => ({
    key: 'Enter',
    shiftKey: false,
    ctrlKey: false,
    metaKey: false,
    isComposing: false,
    ...change
  });
  it.each([
    [{}, false, true],
    [{ shiftKey: true }, false, false],
    [{}, true, false],
    [{ shiftKey: true }, true, true],
    [{ ctrlKey: true }, true, true],
    [{ metaKey: true }, false, true],
    [{ isComposing: true }, false, false],
    [{ keyCode: 229 }, false, false],
    [{ key: 'a' }, false, false]
  ])('%j with shift %s: %s', (change, withShift, expected) => {
    expect(sends(key(change), withShift)).toBe(expected);
  });
});

function view(change: Partial<SessionView>): SessionView {
  return { ...emptyView('c1'), loaded: 'yes', items: [item('user', {})], ...change };
}

function item(kind: string, change: object): Item {
  return { kind, key: kind, seq: 1, at: null, ...change } as unknown as Item;
}

describe('the live line', () => {
  const live = { message: 'Running cell 4 of 9\nmore', progress: null, since: 0 };
  const result = item('result', { durationMs: 720_000, cost: 0.84 });
  const error = item('error', { error: 'The key is not valid.\nTrace' });
  const notebook = { artifact: 'notebook', path: 'n.py' };
  const branch = { artifact: 'branch', title: 'main' };
  const rows: [Status, Partial<SessionView>, string][] = [
    ['queued', {}, 'Queued'],
    ['starting', {}, 'Preparing workspace…'],
    ['running', { live }, 'Running cell 4 of 9'],
    ['running', {}, 'Running'],
    ['waiting', { live }, 'Needs your answer'],
    ['paused', {}, 'Needs your answer'],
    ['stopping', { live }, 'Stopping after the current step…'],
    ['finished', { items: [result] }, 'Finished · 12 min · $0.84'],
    ['finished', { items: [item('result', { durationMs: 9_000, cost: null })] }, 'Finished · 9 s'],
    ['finished', { items: [] }, 'Ready'],
    ['stopped', { reason: 'user' }, 'Stopped by you'],
    [
      'stopped',
      { reason: 'user', artifacts: { notebook, branch } },
      'Stopped by you · kept: notebook, repository'
    ],
    ['error', { items: [error] }, 'The key is not valid.'],
    ['error', {}, 'Failed'],
    ['interrupted', {}, 'Server restarted during this run'],
    ['unknown', {}, 'Unknown state']
  ];
  it.each(rows)('%s', (status, change, text) => {
    expect(liveText(trans, view({ status, ...change }))).toBe(text);
  });

  it('keeps a long step to 80 characters', () => {
    const message = 'x'.repeat(200);
    expect(liveText(trans, view({ status: 'running', live: { ...live, message } }))).toHaveLength(80);
  });

  it('says what it costs, of how much, and when nobody knows', () => {
    const spent = { tokensIn: 10, tokensOut: 2, cost: 0.84, estimated: false };
    const limits = { usd: 5, minutes: null, turns: null };
    expect(costText(trans, view({ spent, limits }))).toBe('$0.84 of $5.00');
    expect(costText(trans, view({ spent }))).toBe('$0.84');
    expect(costText(trans, view({ spent: { ...spent, estimated: true } }))).toBe('≥ $0.84');
    expect(costText(trans, view({ spent: { ...spent, cost: null }, limits }))).toBe('no price known');
  });
});

describe('asking again', () => {
  it('keeps the topic, the template and its parameters', () => {
    const { research } = question() as unknown as { research: object };
    expect(againRoute([item('user', { research })], 'k')).toEqual({
      view: 'new',
      topic: 'Does momentum pay?',
      template: 'equity_signal',
      params: { cost_bps: 20 },
      key: 'k'
    });
  });

  it('is for research only', () => {
    expect(againRoute([item('user', { content: 'Hello' })], 'k')).toBeNull();
  });
});
