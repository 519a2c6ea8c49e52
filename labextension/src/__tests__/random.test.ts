/** Sessions made at random, from a seed, and the recorded transcripts of the systems before. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import type { Item, SessionView } from '../model';
import type { EventFrame, History } from '../protocol';
import { emptyView, fromHistory, rebuilt, reduce } from '../store/reduce';
import { remember } from '../client/frames';

const NOW = Date.UTC(2026, 10, 21, 9);
const SEEDS = Array.from({ length: 12 }, (_, i) => i + 1);

/** Numbers from 0 to 1 that are the same for the same seed (mulberry32). */
function numbers(seed: number): () => number {
  let a = seed * 0x9e3779b9;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A session as a server would log it: replies and calls that stream, alone or side by side, runs that end somehow. */
function session(seed: number): EventFrame[] {
  const random = numbers(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const log: EventFrame[] = [];
  const put = (body: object, partial = false) => {
    const seq = log.length + 1;
    const head = partial ? {} : { v: 1, ts: new Date(NOW + seq * 1000).toISOString() };
    log.push({ chatId: 'c', seq, ...head, ...body } as EventFrame);
    return seq;
  };
  for (let run = 1; run <= 3; run++) {
    const runId = `r${run}`;
    put({ type: 'user_message', id: `m${run}`, content: 'Do it', by: 'ana', runId,
          ...(random() < 0.5 ? { research: { budget: { usd: run } } } : {}) }); // prettier-ignore
    ['queued', 'starting', 'running'].forEach(status =>
      put({ type: 'session_state', status, version: 1, runId })
    );
    const open: { key: string; kind: 'text' | 'thinking' | 'tool'; text: string; first: number }[] = [];
    for (let step = 0; step < 40; step++) {
      const choice = random();
      const known = pick([...open, null]);
      if (known !== null && choice < 0.6) {
        const delta = pick(['the ', 'mean ', '\n', 'é']);
        const names = { text: 'token', thinking: 'thinking', tool: 'tool_output' } as const;
        const id = known.kind === 'tool' ? { toolId: known.key } : { itemId: known.key };
        const seq = put({ type: names[known.kind], ...id, delta }, true);
        known.first = known.first || seq;
        known.text += delta;
      } else if (known !== null && choice < 0.8) {
        open.splice(open.indexOf(known), 1);
        const replaces = known.first ? { replaces: [known.first, log.length] } : {};
        const content = known.text;
        if (known.kind === 'tool') {
          put({ type: 'tool_result', toolId: known.key, ok: random() < 0.8, content, runId, ...replaces });
        } else {
          const type = known.kind === 'text' ? 'assistant_message' : 'thinking';
          put({ type, itemId: known.key, content, runId, ...replaces });
        }
      } else {
        const key = `${run}.${step}`;
        const kind = pick(['text', 'thinking', 'tool', 'else'] as const);
        if (kind === 'tool') {
          const first = put({ type: 'tool_input', toolId: key, toolName: 'nb_run', delta: '{"a"' }, true);
          const title = `Running ${key}`;
          put({
            type: 'tool_use',
            toolId: key,
            toolName: 'nb_run',
            toolInput: {},
            title,
            runId,
            replaces: [first, first]
          });
        }
        if (kind !== 'else') {
          open.push({ key, kind, text: '', first: 0 });
          continue;
        }
        put(
          pick<object>([
            { type: 'agent_status', message: `Running ${run}.${step - 1}`, runId },
            { type: 'agent_status', message: 'Asking again', phase: 'retry', runId },
            {
              type: 'cell',
              notebook: 'n.py',
              cell: pick(['a', 'b']),
              status: pick(['running', 'ok']),
              runId
            },
            { type: 'usage', tokens: { input_tokens: 3, output_tokens: 2 }, cost: 0.1, runId },
            { type: 'plan', items: [{ text: 'Look', state: 'active' }], runId },
            {
              type: 'artifact',
              artifact: pick(['commit', 'notebook']),
              path: 'n.py',
              data: { commit: 'abc' },
              runId
            },
            { type: 'question', requestId: `q${key}`, question: 'Which?', runId },
            { type: 'answered', requestId: `q${run}.${step - 1}`, answer: 'b', by: 'ana' },
            { type: 'session_state', status: pick(['waiting', 'running']), version: 2, runId },
            { type: 'session_state', status: 'running', version: 2, title: 'A title' },
            { type: 'context_summary', content: 'In short', through: 3, runId },
            { type: 'hologram', of: 'a newer server' }
          ])
        );
      }
    }
    const status = pick(['finished', 'stopped', 'error', 'interrupted']);
    put({ type: 'session_state', status, reason: status === 'stopped' ? 'user' : 'x', version: 3, runId });
  }
  return log;
}

/** What the server would answer to `subscribe` without `after` when the log is this long. */
function historyAt(log: readonly EventFrame[], length: number, shown = Infinity): History {
  const past: EventFrame[] = [];
  remember(past, log.slice(0, length));
  const messages = past.slice(-shown);
  const states = log.slice(0, length).filter(frame => frame.type === 'session_state');
  return {
    type: 'history',
    v: 1,
    ts: '',
    chatId: 'c',
    messages,
    state: (states.at(-1) as { status?: string } | undefined)?.status ?? 'finished',
    queue: [],
    fromSeq: messages[0]?.seq ?? 0,
    throughSeq: log[length - 1]?.seq ?? 0,
    hasMore: messages.length < past.length
  };
}

/** All but what who comes late cannot know: when partial text began, and the pace at which it came. */
function shown(view: SessionView) {
  const row = (item: Item) => ({ ...item, seq: 0, at: 0, startedAt: 0, endedAt: 0 });
  return { ...view, items: view.items.map(row), loaded: 'yes', firstSeq: 0, hasMore: false };
}

describe.each(SEEDS)('a session at random (%i)', seed => {
  const log = session(seed);
  const whole = reduce(emptyView('c'), log, NOW);

  it('is the same in whatever pieces it comes, with whatever comes again', () => {
    const random = numbers(seed + 1000);
    let view = emptyView('c');
    for (let at = 0; at < log.length;) {
      const size = 1 + Math.floor(random() * 7);
      const again = log.slice(Math.max(0, at - 5), at).sort(() => random() - 0.5);
      view = reduce(view, [...again, ...log.slice(at, at + size)], NOW);
      at += size;
    }
    expect(view).toEqual(whole);
    expect(reduce(view, log, NOW)).toBe(view);
  });

  it('is the same for who comes in at any moment', () => {
    for (let cut = 0; cut <= log.length; cut++) {
      const begun = fromHistory(emptyView('c'), historyAt(log, cut), NOW);
      expect(shown(reduce(begun, log.slice(cut), NOW)), `cut at ${cut}`).toEqual(shown(whole));
    }
  });

  it('is the same once older pages were loaded below the live end', () => {
    for (const size of [1, 10, 30]) {
      const cut = Math.floor(log.length / 2);
      const frames = historyAt(log, cut, size).messages.slice();
      const begun = fromHistory(emptyView('c'), historyAt(log, cut, size), NOW);
      const late = reduce(begun, log.slice(cut), NOW);
      const older = historyAt(log, cut).messages.slice(0, -size);
      remember(frames, log.slice(cut));
      expect(shown(rebuilt(late, [...older, ...frames], [], NOW))).toEqual(shown(whole));
    }
  });

  it('leaves nothing open at its end, and no key twice', () => {
    const open = whole.items.filter(
      item =>
        ('streaming' in item && item.streaming) ||
        (item.kind === 'tool' && ['writing', 'asked', 'running'].includes(item.status))
    );
    expect(open).toEqual([]);
    expect(whole.live).toBeNull();
    expect(new Set(whole.items.map(item => item.key)).size).toBe(whole.items.length);
  });
});

describe('a transcript of an earlier system', () => {
  /** Recorded with every free text as `…`, every list and object as a text, and every seq as 0. */
  const unmask = (frame: Record<string, unknown>, seq: number): EventFrame => {
    const real = (value: unknown) => (value === '[]' ? [] : value === '{}' ? {} : value);
    const body = Object.fromEntries(Object.entries(frame).map(([name, value]) => [name, real(value)]));
    return {
      ...body,
      ...('ts' in frame ? { ts: new Date(NOW).toISOString() } : {}),
      seq
    } as unknown as EventFrame;
  };

  it.each([
    ['system_a_rooms', 'unknown', ['user']],
    ['system_b_chat', 'error', ['error', 'result', 'user']],
    ['system_b_research', 'finished', ['checkpoint', 'result', 'text', 'tool', 'user']],
    ['system_e_research', 'finished', ['checkpoint', 'result', 'text', 'tool', 'user']]
  ])('%s', (name, status, kinds) => {
    const frames = readFileSync(`../tests/transcripts/${name}.jsonl`, 'utf8')
      .trim()
      .split('\n')
      .map(line => (JSON.parse(line) as { server?: Record<string, unknown> }).server)
      .filter(frame => frame !== undefined)
      .map(
        frame =>
          (frame.payload ? { ...frame, ...(frame.payload as object) } : frame) as Record<string, unknown>
      )
      .filter(frame => 'seq' in frame && frame.type !== 'ack' && (frame.type !== 'error' || 'runId' in frame))
      .map((frame, i) => unmask(frame, i + 1));
    const view = reduce(emptyView('c'), frames, NOW);
    expect(view.status).toBe(status);
    expect([...new Set(view.items.map(item => item.kind))].sort()).toEqual(kinds);
    expect(reduce(view, frames, NOW)).toBe(view);
  });
});
