import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import type { SessionView, TextItem, ToolItem } from '../model';
import type { EventFrame, History } from '../protocol';
import { emptyView, fromHistory, reduce, rebuilt, withOutgoing } from '../store/reduce';

const NOW = Date.UTC(2026, 10, 21, 9);
const ID = 'c1';

/** Every frame of a real run with the template provider, as it came over a socket. */
const golden = readFileSync('src/__tests__/golden/research.jsonl', 'utf8')
  .trim()
  .split('\n')
  .map(line => JSON.parse(line) as EventFrame)
  .filter(frame => 'seq' in frame && (frame as { type: string }).type !== 'ack');

function frame(seq: number, body: object): EventFrame {
  return { v: 1, chatId: ID, seq, ts: new Date(NOW + seq * 1000).toISOString(), ...body } as EventFrame;
}

function partial(seq: number, body: object): EventFrame {
  return { chatId: ID, seq, ...body } as EventFrame;
}

function all(frames: readonly EventFrame[]): SessionView {
  return reduce(emptyView(ID), frames, NOW);
}

/** What a server would answer to `subscribe` without `after`, at this point of the log. */
function historyOf(frames: readonly EventFrame[]): History {
  const gone = new Set<number>();
  frames.forEach(one => {
    const range = (one as { replaces?: [number, number] }).replaces;
    if (range) {
      frames
        .filter(other => other.seq >= range[0] && other.seq <= range[1] && other.ts === undefined)
        .forEach(other => gone.add(other.seq));
    }
  });
  const messages = frames.filter(one => !gone.has(one.seq));
  const states = frames.filter(one => one.type === 'session_state');
  return {
    type: 'history',
    v: 1,
    ts: '',
    chatId: ID,
    messages,
    state: (states[states.length - 1] as { status?: string } | undefined)?.status ?? 'finished',
    queue: [],
    fromSeq: messages[0]?.seq ?? 0,
    throughSeq: frames[frames.length - 1]?.seq ?? 0,
    hasMore: false
  } as History;
}

describe('a research run', () => {
  const whole = all(golden);

  it('ends as it did', () => {
    expect(whole.status).toBe('finished');
    expect(whole.live).toBeNull();
    expect(whole.runStartedAt).toBeNull();
    expect(whole.plan?.map(item => item.state)).toEqual(Array<string>(7).fill('done'));
    expect(Object.keys(whole.artifacts).sort()).toEqual(['branch', 'commit', 'notebook', 'repo', 'report']);
    const kinds = new Set(whole.items.map(item => item.kind));
    expect([...kinds].sort()).toEqual(['checkpoint', 'result', 'text', 'tool', 'user']);
    const tools = whole.items.filter((item): item is ToolItem => item.kind === 'tool');
    expect(tools.every(tool => tool.status === 'ok' || tool.status === 'failed')).toBe(true);
    const run = tools.find(tool => tool.name === 'nb_run');
    expect(run?.cells.length).toBe(58);
    expect(run?.cells.every(cell => cell.status === 'ok')).toBe(true);
    expect(new Set(whole.items.map(item => item.key)).size).toBe(whole.items.length);
  });

  it('is the same when every frame comes twice, and when old ones come again in any order', () => {
    const twice = golden.flatMap(one => [one, one]);
    expect(all(twice)).toEqual(whole);
    const again = reduce(whole, [...golden].reverse(), NOW);
    expect(again).toBe(whole);
  });

  it('is the same frame by frame as in one batch', () => {
    const stepwise = golden.reduce((view, one) => reduce(view, [one], NOW), emptyView(ID));
    expect(stepwise).toEqual(whole);
  });

  it('is the same for who comes in late, at whatever moment', () => {
    for (let cut = 1; cut < golden.length; cut++) {
      const view = fromHistory(emptyView(ID), historyOf(golden.slice(0, cut)), NOW);
      const late = reduce(view, golden.slice(cut), NOW);
      // A row's seq is that of the first frame seen, which for replaced text is the final one.
      const shown = (items: SessionView['items']) => items.map(item => ({ ...item, seq: 0, at: 0 }));
      expect(shown(late.items), `cut at ${cut}`).toEqual(shown(whole.items));
      expect({ ...late, items: [], firstSeq: 0, loaded: 'no' }).toEqual({ ...whole, items: [], firstSeq: 0 });
    }
  });

  it('is the same when older pages are fetched afterwards', () => {
    const finals = historyOf(golden).messages as EventFrame[];
    const cut = Math.floor(finals.length / 2);
    const newer = finals.slice(cut);
    const late = fromHistory(emptyView(ID), { ...historyOf(newer), hasMore: true }, NOW);
    const full = rebuilt(late, finals, [], NOW);
    const shown = (items: SessionView['items']) => items.map(item => ({ ...item, seq: 0, at: 0 }));
    expect(shown(full.items)).toEqual(shown(all(finals).items));
    // What was there already keeps its identity: its rows are not rendered again.
    const kept = full.items.filter(item => late.items.includes(item));
    expect(kept.length).toBeGreaterThan(late.items.length - 3);
  });
});

describe('text that streams in', () => {
  it('grows one item, which its final event replaces in place', () => {
    const first = all([partial(1, { type: 'token', itemId: 'i1', delta: 'The ' })]);
    const second = reduce(first, [partial(2, { type: 'token', itemId: 'i1', delta: 'mean' })], NOW);
    expect(second.items).toMatchObject([{ kind: 'text', content: 'The mean', streaming: true, key: 't:i1' }]);
    const third = reduce(
      second,
      [frame(3, { type: 'assistant_message', itemId: 'i1', content: 'The mean.', replaces: [1, 2] })],
      NOW
    );
    expect(third.items).toMatchObject([{ content: 'The mean.', streaming: false, key: 't:i1', seq: 1 }]);
  });

  it('leaves every other item as it is', () => {
    const before = all([
      frame(1, { type: 'user_message', id: 'u1', content: 'Why?', by: 'ana' }),
      partial(2, { type: 'token', itemId: 'i1', delta: 'Be' })
    ]);
    const after = reduce(before, [partial(3, { type: 'token', itemId: 'i1', delta: 'cause' })], NOW);
    expect(after.items[0]).toBe(before.items[0]);
    expect(after.items[1]).not.toBe(before.items[1]);
  });

  it('costs the same at the end of a long answer as at its beginning', () => {
    const time = (view: SessionView, from: number) => {
      const began = performance.now();
      let now = view;
      for (let i = 0; i < 2_000; i++) {
        now = reduce(now, [partial(from + i, { type: 'token', itemId: 'i1', delta: 'word ' })], NOW);
      }
      return { view: now, ms: performance.now() - began };
    };
    time(emptyView(ID), 1); // the first round is slow in any engine
    const first = time(emptyView(ID), 1);
    let late = first;
    for (let round = 1; round < 5; round++) {
      late = time(late.view, 1 + round * 2_000);
    }
    expect((late.view.items[0] as TextItem).content.length).toBe(50_000);
    expect(late.ms).toBeLessThan(first.ms * 8 + 20);
  });
});

describe('tools', () => {
  const use = {
    type: 'tool_use',
    toolName: 'shell',
    toolId: 't1',
    toolInput: { command: 'ls' },
    title: 'Running ls'
  };

  it('go from being written to their result', () => {
    const states: string[] = [];
    [
      partial(1, { type: 'tool_input', toolId: 't1', toolName: 'shell', delta: '{"com' }),
      frame(2, use),
      frame(3, { type: 'agent_status', message: 'Running ls' }),
      partial(4, { type: 'tool_output', toolId: 't1', delta: 'a.txt' }),
      frame(5, { type: 'tool_result', toolId: 't1', ok: true, content: 'a.txt\nb.txt', duration_ms: 12 })
    ].reduce((view, one) => {
      const next = reduce(view, [one], NOW);
      states.push((next.items[0] as ToolItem).status);
      return next;
    }, emptyView(ID));
    expect(states).toEqual(['writing', 'asked', 'running', 'running', 'ok']);
  });

  it('never spin once the run has ended', () => {
    const view = all([
      frame(1, { type: 'session_state', status: 'running', version: 1, runId: 'r1' }),
      frame(2, { type: 'agent_status', message: 'Running ls' }),
      frame(3, use),
      partial(4, { type: 'token', itemId: 'i1', delta: 'And so' }),
      frame(5, { type: 'session_state', status: 'stopped', reason: 'user', version: 2, runId: 'r1' })
    ]);
    expect(view.items).toMatchObject([
      { kind: 'tool', status: 'cut' },
      { kind: 'text', streaming: false, partial: true },
      { kind: 'notice', notice: 'stopped' }
    ]);
    expect(view.live).toBeNull();
  });

  it('take the cells that they run, each once, in the order in which they first ran', () => {
    const cell = (name: string, status: string) => ({ type: 'cell', notebook: 'n.py', cell: name, status });
    const view = all([
      frame(1, { ...use, toolName: 'nb_run', title: 'Running' }),
      frame(2, cell('a', 'running')),
      frame(3, cell('b', 'running')),
      frame(4, {
        ...cell('a', 'error'),
        error: 'NameError',
        output: { items: [{ kind: 'text', text: 'x' }] }
      }),
      frame(5, { type: 'tool_result', toolId: 't1', ok: false, content: 'failed' })
    ]);
    expect(view.items).toMatchObject([
      { status: 'failed', cells: [{ cell: 'a', status: 'error', error: 'NameError' }, { cell: 'b' }] }
    ]);
  });
});

describe('requests', () => {
  const ask = { type: 'question', requestId: 'q1', question: 'Which?', options: ['a', 'b'] };

  it('are open until somebody answers, here or elsewhere', () => {
    const open = all([frame(1, ask), frame(2, { type: 'session_state', status: 'waiting', version: 1 })]);
    expect(open.waitingFor).toEqual(['q1']);
    const done = reduce(open, [frame(3, { type: 'answered', requestId: 'q1', answer: 'b', by: 'ben' })], NOW);
    expect(done.waitingFor).toEqual([]);
    expect(done.items[0]).toMatchObject({ answer: 'b', by: 'ben' });
  });
});

describe('usage', () => {
  const usage = (cost: number | null, extra = {}) => ({
    type: 'usage',
    tokens: { input_tokens: 100, output_tokens: 20, cache_read_input_tokens: 30, thinking_tokens: 5 },
    cost,
    ...extra
  });

  it('adds up for the run, and starts anew with the next', () => {
    const running = (runId: string) => ({ type: 'session_state', status: 'running', version: 1, runId });
    const view = all([frame(1, running('r1')), frame(2, usage(0.5)), frame(3, usage(0.25))]);
    expect(view.spent).toEqual({ tokensIn: 260, tokensOut: 40, cost: 0.75, estimated: false });
    expect(reduce(view, [frame(4, running('r2'))], NOW).spent.tokensIn).toBe(0);
  });

  it('is null, never 0, when no price is known', () => {
    expect(all([frame(1, usage(null))]).spent).toMatchObject({ cost: null, estimated: true });
  });
});

describe('messages on their way', () => {
  const item = {
    kind: 'user' as const,
    key: 'u:m1',
    seq: 0,
    at: NOW,
    id: 'm1',
    content: 'Go on',
    by: 'ana',
    sending: 'pending' as const
  };

  it('stay at the end, and give way to the real one', () => {
    const view = withOutgoing(all([partial(1, { type: 'token', itemId: 'i1', delta: 'a' })]), item);
    const more = reduce(view, [partial(2, { type: 'token', itemId: 'i2', delta: 'b' })], NOW);
    expect(more.items.map(one => one.key)).toEqual(['t:i1', 't:i2', 'u:m1']);
    const real = reduce(
      more,
      [frame(3, { type: 'user_message', id: 'm1', content: 'Go on', by: 'ana' })],
      NOW
    );
    expect(real.items.map(one => one.key)).toEqual(['t:i1', 't:i2', 'u:m1']);
    expect(real.items[2]).not.toHaveProperty('sending');
    expect(withOutgoing(real, item)).toBe(real);
  });
});

it('an event of a newer server changes no row, and is not asked for again', () => {
  const view = all([frame(7, { type: 'hologram', picture: 1 })]);
  expect(view.items).toEqual([]);
  expect(view.lastSeq).toBe(7);
});

describe('the limits of a run', () => {
  const ask = (seq: number, runId: string, budget: object | null) =>
    frame(seq, { type: 'user_message', id: `m${seq}`, content: 'x', by: 'ana', runId, research: { budget } });
  const running = (seq: number, runId: string) =>
    frame(seq, { type: 'session_state', status: 'running', version: 1, runId });

  it('are those of its research, also while another run is still at work; a plain message has none', () => {
    const first = all([ask(1, 'r1', { usd: 3, minutes: 30 }), running(2, 'r1')]);
    expect(first.limits).toEqual({ usd: 3, minutes: 30, turns: null });
    const queued = reduce(first, [ask(3, 'r2', { usd: 9 })], NOW);
    expect(queued.limits.usd).toBe(3);
    expect(reduce(queued, [running(4, 'r2')], NOW).limits.usd).toBe(9);
    const said = frame(3, { type: 'user_message', id: 'm', content: 'x', by: 'ana', runId: 'r3' });
    expect(reduce(first, [said, running(4, 'r3')], NOW).limits.usd).toBeNull();
  });
});

describe('notices', () => {
  const state = (seq: number, status: string, more = {}) =>
    frame(seq, { type: 'session_state', status, version: seq, ...more });
  const notices = (view: SessionView) =>
    view.items.map(item => (item.kind === 'notice' ? item.notice : item.kind));

  it('tell of a stop once, however often the state is said again', () => {
    const view = all([
      state(1, 'running'),
      state(2, 'stopped', { reason: 'user' }),
      state(3, 'stopped', { reason: 'user', title: 'Renamed' })
    ]);
    expect(notices(view)).toEqual(['stopped']);
    expect(view.title).toBe('Renamed');
    expect(reduce(view, [state(4, 'stopped', { title: 'Again' })], NOW).reason).toBe('user');
  });

  it('tell of a crash, a retry, a sum-up and of going on', () => {
    const view = all([
      state(1, 'running'),
      frame(2, { type: 'agent_status', message: 'Asking again in 2 s', phase: 'retry' }),
      frame(3, { type: 'context_summary', content: 'So far', through: 1 }),
      state(4, 'interrupted', { reason: 'crash' }),
      frame(5, { type: 'agent_status', message: 'Carrying on', phase: 'resume' }),
      state(6, 'running'),
      state(7, 'stopped', { reason: 'crash' })
    ]);
    expect(notices(view)).toEqual(['retry', 'summary', 'interrupted', 'resumed', 'interrupted']);
  });
});

it('cells belong to the first notebook call that is not done, and to the last one when all are', () => {
  const call = (seq: number, toolId: string, toolName: string) =>
    frame(seq, { type: 'tool_use', toolId, toolName, toolInput: {}, title: toolId, runId: 'r1' });
  const result = (seq: number, toolId: string) =>
    frame(seq, { type: 'tool_result', toolId, ok: true, content: '', runId: 'r1' });
  const cell = (seq: number, name: string) =>
    frame(seq, { type: 'cell', notebook: 'n.py', cell: name, status: 'ok', runId: 'r1' });
  const view = all([
    call(1, 'a', 'nb_edit'),
    call(2, 'b', 'mcp__postdoc__nb_run'),
    call(3, 'c', 'shell'),
    cell(4, 'x'),
    result(5, 'a'),
    cell(6, 'y'),
    result(7, 'b'),
    cell(8, 'z')
  ]);
  const cells = view.items.map(item => (item.kind === 'tool' ? item.cells.map(one => one.cell) : null));
  expect(cells).toEqual([['x'], ['y', 'z'], []]);
});

it('a result knows the tokens of its run although their events are above the page that is shown', () => {
  const run = { runId: 'r1' };
  const events = [
    frame(1, { type: 'session_state', status: 'running', version: 1, ...run }),
    frame(2, { type: 'usage', tokens: { input_tokens: 7, output_tokens: 3 }, cost: 1, ...run }),
    frame(3, { type: 'result', success: true, cost: 1, duration_ms: 5, stop_reason: 'end_turn', ...run }),
    frame(4, { type: 'session_state', status: 'finished', version: 2, ...run })
  ];
  const view = rebuilt(all(events.slice(2)), events.slice(2), events.slice(0, 2), NOW);
  expect(view.items).toMatchObject([{ kind: 'result', tokens: 10 }]);
});

it('thinking that was seen live has a duration; that of a history has none', () => {
  const think = partial(1, { type: 'thinking', itemId: 'i', delta: 'Hm' });
  const done = frame(2, { type: 'thinking', itemId: 'i', content: 'Hm.', replaces: [1, 1] });
  const live = reduce(all([think]), [done], NOW + 8_000);
  expect(live.items).toMatchObject([{ startedAt: NOW, endedAt: NOW + 8_000, streaming: false }]);
  const late = reduce(fromHistory(emptyView(ID), { ...historyOf([think]) }, NOW), [done], NOW + 8_000);
  expect(late.items).toMatchObject([{ startedAt: null, endedAt: null, streaming: false }]);
});

it('a run that has begun waits no longer', () => {
  const pending = [
    { id: 'm1', content: 'First', kind: 'research', runId: 'r1' },
    { id: 'm2', content: 'Then', kind: 'chat', runId: 'r2' }
  ];
  const queued = all([frame(1, { type: 'queue_changed', pending })]);
  const begun = reduce(
    queued,
    [frame(2, { type: 'session_state', status: 'starting', version: 1, runId: 'r1' })],
    NOW
  );
  expect(begun.queue.map(one => one.id)).toEqual(['m2']);
});

describe('what stands among other words', () => {
  it('does not turn them around', () => {
    const view = all([
      frame(1, { type: 'session_state', status: 'running', version: 1, title: 'a\u202Etxt' }),
      frame(2, {
        type: 'tool_use',
        toolId: 't',
        toolName: 'x',
        toolInput: {},
        title: 'Read \u202Ea\u001b[31m'
      }),
      frame(3, { type: 'agent_status', message: 'Read \u202Ea\u001b[31m' })
    ]);
    expect(view.title).toBe('atxt');
    expect(view.items[0]).toMatchObject({ title: 'Read a', status: 'running' });
    expect(view.live?.message).toBe('Read a');
  });
});
