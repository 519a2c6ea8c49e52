import { describe, expect, it } from 'vitest';

import { failed, publication, PULL, PLACED, steps } from '../components/publish/__tests__/cases';
import type { Item, SessionView } from '../model';
import type { EventFrame, History } from '../protocol';
import { emptyView, fromHistory, rebuilt, reduce } from '../store/reduce';

let seq = 0;
const frames = (...bodies: object[]): EventFrame[] =>
  bodies.map(body => ({ v: 1, ts: '2026-11-21T09:00:00Z', chatId: 'c', seq: ++seq, ...body }) as EventFrame);
const after = (...bodies: object[]): SessionView => {
  seq = 0;
  return reduce(emptyView('c'), frames(...bodies), 0);
};
const news = (view: SessionView) =>
  view.items.flatMap(item => (item.kind === 'publication' ? [item.what] : []));
const result = (more: object = {}) => ({
  type: 'result',
  runId: 'p1',
  success: true,
  cost: null,
  duration_ms: 9000,
  stop_reason: 'published',
  summary: 'Published.',
  ...more
});
const begun = publication({ state: 'publishing', pull: undefined, branch: undefined, steps: steps(1) });
const pull = (change: object) => publication({ pull: { ...PULL, ...change }, runId: undefined });

describe('the picture', () => {
  it('is that of the newest event; a look of the server leaves whose run it was', () => {
    const view = after(begun, publication(), pull({ comments: 3 }));
    expect(view.publication).toMatchObject({ state: 'published', runId: 'p1', once: true, told: 7 });
    expect(view.publication?.pull?.comments).toBe(3);
  });

  it('has no character in it that hides or reorders others', () => {
    const evil = 'a\u202Eb\u001b[31m\nc';
    const view = after(
      failed({
        error: evil,
        findings: [
          { kind: 'secret', path: evil, text: evil, line: 1, commit: '', step: evil, blocking: true }
        ]
      }),
      publication({
        notes: [evil],
        pull: { ...PULL, title: evil },
        repository: { ...PLACED.repository, name: evil }
      })
    );
    expect(JSON.stringify([view.publication, view.items])).not.toMatch(/\u202e|\\u001b|\\n/);
  });

  it('keeps the folder of a repository that has a page now', () => {
    const view = after(
      { type: 'artifact', artifact: 'repo', path: 'research/owls', title: 'owls' },
      { type: 'artifact', artifact: 'repo', url: 'https://github.com/ana/owls' }
    );
    expect(view.artifacts.repo).toMatchObject({ path: 'research/owls', url: 'https://github.com/ana/owls' });
  });
});

describe('the lines of the timeline', () => {
  it('say once that it is published, with its pull request; steps say nothing', () => {
    expect(news(after(begun, publication({ state: 'publishing' }), publication(), publication()))).toEqual([
      'published'
    ]);
  });

  it('say nothing when it is published again', () => {
    const view = after(begun, publication(), result(), begun, publication({ ahead: 0 }), result());
    expect(news(view)).toEqual(['published']);
  });

  it('say that a pull request came later, was merged, closed, opened again', () => {
    expect(news(after(publication({ pull: undefined }), pull({})))).toEqual(['published', 'opened']);
    expect(news(after(publication(), pull({ state: 'merged' })))).toEqual(['published', 'merged']);
    expect(news(after(publication(), pull({ state: 'closed' }), pull({})))).toEqual([
      'published',
      'closed',
      'reopened'
    ]);
  });

  it('say when checks fail and pass, and when a reviewer has decided', () => {
    const checks = (state: string) => pull({ checks: { ...PULL.checks, state } });
    const review = pull({ review: { ...PULL.review, state: 'approved' } });
    expect(
      news(after(publication(), checks('failed'), checks('failed'), checks('pending'), checks('passed')))
    ).toEqual(['published', 'checks_failed', 'checks_passed']);
    expect(news(after(publication(), review, review))).toEqual(['published', 'approved']);
  });

  it('stand where they happened', () => {
    const said = { type: 'user_message', id: 'm', content: 'Hello', by: 'ana' };
    const kinds = after(publication(), said, pull({ state: 'merged' })).items.map((item: Item) => item.kind);
    expect(kinds).toEqual(['publication', 'user', 'publication']);
  });
});

describe('the run that publishes', () => {
  it('is one line, not two', () => {
    const kinds = (view: SessionView) => view.items.map(item => item.kind);
    expect(kinds(after(begun, publication(), result()))).toEqual(['publication']);
    const again = after(begun, publication(), result(), begun, publication(), result({ runId: 'p2' }));
    expect(again.items.filter(item => item.kind === 'result')).toMatchObject([{ publishing: true }]);
    const refused = after(failed({}), result({ success: false, stop_reason: 'github_conflict' }));
    expect(refused.items).toMatchObject([{ kind: 'result', publishing: true, success: false }]);
  });

  it('leaves what the research has used, its limits and its plan', () => {
    const state = (status: string, runId: string) => ({ type: 'session_state', status, version: 1, runId });
    const view = after(
      {
        type: 'user_message',
        id: 'm',
        content: 'Q',
        by: 'a',
        runId: 'r1',
        research: { topic: 'Q', budget: { usd: 5 } }
      },
      state('running', 'r1'),
      { type: 'plan', items: [{ text: 'Later', state: 'active' }] },
      { type: 'usage', tokens: { input_tokens: 100, output_tokens: 10 }, cost: 0.5 },
      state('finished', 'r1'),
      state('running', 'p1'),
      begun,
      publication(),
      result()
    );
    expect(view.spent).toMatchObject({ tokensIn: 100, cost: 0.5 });
    expect(view.limits.usd).toBe(5);
    expect(view.plan?.[0]?.state).toBe('active');
  });

  it('is told from a result that is followed by one', () => {
    const view = after(result({ runId: 'r1', stop_reason: 'end_turn', followedBy: 'p1' }));
    expect(view.items[0]).toMatchObject({ publishing: false, followedBy: 'p1' });
  });
});

describe('a long session', () => {
  const history = (messages: EventFrame[], hasMore: boolean): History =>
    ({
      type: 'history',
      v: 1,
      ts: '',
      messages,
      state: 'finished',
      queue: [],
      fromSeq: messages[0]?.seq ?? 0,
      throughSeq: messages[messages.length - 1]?.seq ?? 0,
      hasMore
    }) as History;

  it('is not said to be published anew because the beginning is not loaded', () => {
    seq = 0;
    const early = frames(publication());
    const late = frames(pull({ state: 'merged' }), pull({ state: 'merged', comments: 1 }));
    const short = fromHistory(emptyView('c'), history([...early, ...late], false), 0);
    expect(news(short)).toEqual(['published', 'merged']);
    const view = fromHistory(emptyView('c'), history(late, true), 0);
    expect(news(view)).toEqual([]);
    expect(view.publication?.pull?.state).toBe('merged');
    // What was before comes in the background: now it is known what was new.
    const known = rebuilt(view, late, early, 0);
    expect(news(known)).toEqual(['merged']);
    expect(known.publication?.once).toBe(true);
  });

  it('knows of a publication from before what is shown', () => {
    seq = 0;
    const early = frames(publication());
    const late = frames({ type: 'user_message', id: 'm', content: 'Hello', by: 'ana' });
    const view = fromHistory(emptyView('c'), history(late, true), 0);
    expect(view.publication).toBeNull();
    expect(rebuilt(view, late, early, 0).publication?.repository?.name).toBe('ana/reversal');
  });
});
