import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import type { Item, ToolItem } from '../../../model';
import type { EventFrame } from '../../../protocol';
import { emptyView, reduce } from '../../../store/reduce';
import { changesOf, countsOf, linesOf } from '../changes';
import { inProject } from '../paths';
import { RowMaker } from '../rows';

/** A real run with the template provider. */
const golden = readFileSync('src/__tests__/golden/research.jsonl', 'utf8')
  .trim()
  .split('\n')
  .map(line => JSON.parse(line) as EventFrame)
  .filter(frame => 'seq' in frame && (frame as { type: string }).type !== 'ack');

let seq = 0;
function call(id: string, more: Partial<ToolItem> = {}): ToolItem {
  seq += 1;
  return {
    key: `c:${id}`,
    seq,
    at: seq,
    kind: 'tool',
    toolId: id,
    name: 'read_file',
    title: `Reading ${id}`,
    input: {},
    inputText: '',
    status: 'ok',
    output: '',
    data: null,
    images: [],
    truncated: false,
    blob: null,
    durationMs: 1000,
    server: false,
    cells: [],
    ...more
  };
}

function said(id: string): Item {
  seq += 1;
  return {
    key: `t:${id}`,
    seq,
    at: seq,
    kind: 'text',
    content: id,
    streaming: false,
    partial: false,
    citations: []
  };
}

const kinds = (items: readonly Item[], fold = true) =>
  new RowMaker().make(items, fold).map(row => (row.kind === 'fold' ? row.tools.length : row.item.key));

describe('rows', () => {
  it('fold more than two finished calls in a row, and only those', () => {
    expect(kinds([call('a'), call('b'), call('c')])).toEqual([3]);
    expect(kinds([call('a'), call('b')])).toEqual(['c:a', 'c:b']);
    expect(kinds([call('a'), call('b'), said('x'), call('c')])).toEqual(['c:a', 'c:b', 't:x', 'c:c']);
    expect(kinds([call('a'), call('b'), call('c')], false)).toEqual(['c:a', 'c:b', 'c:c']);
  });

  it('leave open what has failed, runs, or has something to look at', () => {
    for (const more of [
      { status: 'failed' },
      { status: 'running' },
      { status: 'cut' },
      { images: [{ blob: 'b' }] },
      { cells: [{ notebook: 'n', cell: 'c', status: 'ok', outputs: [], error: null, durationMs: 1 }] }
    ] as Partial<ToolItem>[]) {
      expect(kinds([call('a'), call('b'), call('c'), call('d', more)])).toEqual([3, 'c:d']);
    }
  });

  it('say how long the folded calls took together', () => {
    const [row] = new RowMaker().make([call('a'), call('b', { durationMs: null }), call('c')], true);
    expect(row).toMatchObject({ kind: 'fold', ms: 2000 });
  });

  it('put what a sub-agent did below the call that sent it', () => {
    const items = [
      call('d', { name: 'delegate' }),
      call('a', { parent: 'd' }),
      call('b', { parent: 'd' }),
      call('e')
    ];
    const rows = new RowMaker().make(items, true);
    expect(rows.map(row => row.key)).toEqual(['c:d', 'c:e']);
    expect(rows[0]).toMatchObject({ children: [{ toolId: 'a' }, { toolId: 'b' }] });
  });

  it('show such calls by themselves when that call is not among them', () => {
    expect(kinds([call('a', { parent: 'gone' }), said('x')])).toEqual(['c:a', 't:x']);
  });

  it('stay the same objects while nothing about them changes', () => {
    const maker = new RowMaker();
    const items = [said('x'), call('a'), call('b'), call('c'), said('y'), call('d', { status: 'running' })];
    const before = maker.make(items, true);
    const after = maker.make([...items.slice(0, 5), call('d', { status: 'ok' }), said('z')], true);
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
    before.slice(0, 3).forEach((row, i) => expect(after[i]).toBe(row));
    expect(after[3]).not.toBe(before[3]);
  });

  it('of a run are the same when it is seen live and afterwards, and each key is there once', () => {
    const live = new RowMaker();
    let view = emptyView('c');
    for (const frame of golden) {
      const next = reduce(view, [frame], 0);
      const rows = live.make(next.items, true);
      expect(new Set(rows.map(row => row.key)).size).toBe(rows.length);
      view = next;
    }
    const whole = reduce(emptyView('c'), golden, 0);
    const again = new RowMaker().make(whole.items, true);
    expect(live.make(view.items, true).map(row => row.key)).toEqual(again.map(row => row.key));
    expect(again.some(row => row.kind === 'fold')).toBe(true);
    expect(again.filter(row => row.kind === 'item' && row.item.kind === 'result')).toHaveLength(1);
  });
});

describe('what a call changed', () => {
  const edit = (id: string, ...changes: object[]) => call(id, { name: 'nb_edit', input: { changes } });
  const text = (change: Parameters<typeof linesOf>[0]) =>
    linesOf(change).map(line => (line === null ? '⋯' : line.sign + line.text));

  it('is told from what an earlier call of the session wrote', () => {
    const first = edit(
      '1',
      { op: 'put', name: 'load', code: 'x = 1\ny = 2' },
      { op: 'put', name: 'old', code: 'z' }
    );
    const second = edit(
      '2',
      { op: 'put', name: 'load', code: 'x = 1\ny = 3\nw = 4' },
      { op: 'delete', name: 'old' },
      { op: 'move', name: 'load', after: null },
      { op: 'put', name: 'new', code: 'n' }
    );
    const changes = changesOf(second, [first, second]) ?? [];
    expect(changes.map(change => [change.name, change.what])).toEqual([
      ['load', 'changed'],
      ['old', 'removed'],
      ['load', 'moved'],
      ['new', 'added']
    ]);
    expect(text(changes[0] as never)).toEqual([' x = 1', '−y = 2', '+y = 3', '+w = 4']);
    expect(text(changes[1] as never)).toEqual(['−z']);
    expect(countsOf(changes)).toEqual({ added: 3, removed: 2 });
    // A failed call has written nothing.
    const failed = { ...first, status: 'failed' as const };
    expect(changesOf(second, [failed, second])?.[0]).toMatchObject({ what: 'added', before: null });
  });

  it('leaves out what is far from a change', () => {
    const lines = Array.from({ length: 40 }, (_, i) => `line ${i}`);
    const change = {
      name: 'f',
      what: 'changed' as const,
      before: lines.join('\n'),
      after: lines.map((line, i) => (i === 20 ? 'other' : line)).join('\n')
    };
    expect(text(change)).toEqual([
      '⋯',
      ...[' line 17', ' line 18', ' line 19', '−line 20', '+other', ' line 21', ' line 22', ' line 23'],
      '⋯'
    ]);
  });

  it('is quick for two long texts that have nothing in common', () => {
    const long = (word: string) => Array.from({ length: 20_000 }, (_, i) => `${word} ${i}`).join('\n');
    const from = performance.now();
    const counts = countsOf([{ name: 'f', what: 'changed', before: long('a'), after: long('b') }]);
    expect(counts).toEqual({ added: 20_000, removed: 20_000 });
    expect(performance.now() - from).toBeLessThan(2000);
  });

  it('is known for files, and for nothing else', () => {
    const file = call('f', { name: 'edit_file', input: { path: 'a.py', old: 'x\n', new: 'y\n' } });
    expect(text((changesOf(file, []) as never)[0])).toEqual(['−x', '+y']);
    const whole = call('w', { name: 'write_file', input: { path: 'a.py', content: 'x\ny\n' } });
    expect(countsOf(changesOf(whole, []) ?? [])).toEqual({ added: 2, removed: 0 });
    expect(changesOf(call('s', { name: 'shell', input: { command: 'ls' } }), [])).toBeNull();
    expect(changesOf(edit('x', null as never, 'text' as never), [])).toHaveLength(2); // nonsense does no harm
  });
});

describe('a path', () => {
  it('is one of the project, and never one above the root', () => {
    expect(inProject('notes.md', 'research/a')).toBe('research/a/notes.md');
    expect(inProject('./b/../notes.md', 'research/a/')).toBe('research/a/notes.md');
    expect(inProject('research/a/notes.md', 'research/a')).toBe('research/a/notes.md');
    expect(inProject('notes.md', null)).toBe('notes.md');
    expect(inProject('../../../etc/passwd', 'research/a')).toBeNull();
    expect(inProject('..', null)).toBeNull();
    expect(inProject('', null)).toBeNull();
  });
});
