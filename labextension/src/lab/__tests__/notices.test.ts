import { describe, expect, it } from 'vitest';

import type { ChatInfo } from '../../model';
import { NotebookLog } from '../autoOpen';
import { NoticeLog } from '../notices';
import { statusLine } from '../status';

let clock = 0;

function chat(id: string, state: string, more: Partial<ChatInfo> = {}): ChatInfo {
  clock += 1;
  return {
    id,
    state,
    title: id,
    kind: 'research',
    reason: null,
    model: null,
    persona: null,
    provider: null,
    archived: false,
    version: clock,
    lastSeq: clock,
    createdAt: '2026-01-01T00:00:00Z',
    updatedAt: new Date(Date.UTC(2026, 0, 1) + clock * 1000).toISOString(),
    project: null,
    template: null,
    line: null,
    cost: null,
    needs: 0,
    publication: null,
    notebook: null,
    repository: null,
    ...more
  };
}

function list(...chats: ChatInfo[]): Record<string, ChatInfo> {
  return Object.fromEntries(chats.map(each => [each.id, each]));
}

function kinds(log: NoticeLog, ...chats: ChatInfo[]): string[] {
  return log.read(list(...chats)).map(({ kind, session }) => `${session.id} ${kind}`);
}

describe('NoticeLog', () => {
  it('says nothing of history', () => {
    const log = new NoticeLog();
    expect(log.read(null)).toEqual([]);
    expect(kinds(log, chat('a', 'finished'), chat('b', 'waiting', { needs: 1 }), chat('c', 'error'))).toEqual(
      []
    );
    // A session of another browser that is new and already at its end was followed there.
    expect(kinds(log, chat('d', 'finished'))).toEqual([]);
  });

  it('tells of the end of work, and of nothing twice', () => {
    const log = new NoticeLog();
    kinds(log, chat('a', 'running'), chat('b', 'queued'), chat('c', 'stopping'), chat('d', 'running'));
    const ended = [chat('a', 'finished'), chat('b', 'error'), chat('c', 'stopped'), chat('d', 'interrupted')];
    expect(kinds(log, ...ended)).toEqual(['a finished', 'b error', 'd error']);
    expect(kinds(log, ...ended)).toEqual([]);
    // Renamed afterwards: a new version in the same state.
    expect(kinds(log, chat('a', 'finished', { title: 'other' }))).toEqual([]);
  });

  it('tells of each question', () => {
    const log = new NoticeLog();
    kinds(log, chat('a', 'running'));
    expect(kinds(log, chat('a', 'waiting', { needs: 1 }))).toEqual(['a waiting']);
    expect(kinds(log, chat('a', 'waiting', { needs: 1 }))).toEqual([]);
    expect(kinds(log, chat('a', 'waiting', { needs: 2 }))).toEqual(['a waiting']);
    expect(kinds(log, chat('a', 'waiting', { needs: 1 }))).toEqual([]);
    kinds(log, chat('a', 'running'));
    expect(kinds(log, chat('a', 'waiting', { needs: 1 }))).toEqual(['a waiting']);
  });

  it('after a reconnection tells what happened meanwhile, once', () => {
    const log = new NoticeLog();
    const running = chat('a', 'running');
    kinds(log, running, chat('b', 'running'));
    expect(log.read(null)).toEqual([]);
    const finished = chat('a', 'finished');
    expect(kinds(log, finished, chat('b', 'running'))).toEqual(['a finished']);
    // The old list comes late, then the new one again.
    expect(kinds(log, running)).toEqual([]);
    expect(kinds(log, finished)).toEqual([]);
  });

  it('knows a session that was away from the list', () => {
    const log = new NoticeLog();
    kinds(log, chat('a', 'running'));
    expect(kinds(log)).toEqual([]);
    expect(kinds(log, chat('a', 'finished'))).toEqual(['a finished']);
  });

  it('leaves out rooms', () => {
    const log = new NoticeLog();
    kinds(log, chat('r', 'running', { kind: 'room' }));
    expect(kinds(log, chat('r', 'finished', { kind: 'room' }))).toEqual([]);
  });
});

describe('NotebookLog', () => {
  it('tells of a notebook once, and not of those of history', () => {
    const log = new NotebookLog();
    const project = { notebook: 'research/a/notebook.py' };
    expect(log.read(null)).toEqual([]);
    expect(log.read(list(chat('old', 'finished', { project }), chat('a', 'running')))).toEqual([]);
    expect(log.read(list(chat('a', 'running', { project })))).toEqual([
      { session: 'a', path: 'research/a/notebook.py' }
    ]);
    expect(log.read(list(chat('a', 'finished', { project })))).toEqual([]);
  });
});

describe('statusLine', () => {
  const trans = {
    __: (text: string, ...args: unknown[]) => text.replace(/%(\d)/g, (_, n) => String(args[Number(n) - 1])),
    _n: (one: string, many: string, n: number, ...args: unknown[]) =>
      (n === 1 ? one : many).replace(/%(\d)/g, (_, at) => String(args[Number(at) - 1]))
  };
  const line = (...chats: ChatInfo[]) =>
    statusLine(
      {
        connection: { state: 'connected', lostAt: null, retryAt: null, problem: null },
        user: null,
        sessions: list(...chats),
        views: {}
      },
      trans
    );

  it('counts what runs and adds up what that has cost', () => {
    const chats = [
      chat('a', 'running', { cost: 0.8 }),
      chat('b', 'queued', { cost: 0.4 }),
      chat('c', 'finished', { cost: 7 }),
      chat('d', 'waiting', { cost: 3, needs: 1 })
    ];
    expect(line(...chats)).toBe('⚙ 2 running · $1.20');
    expect(line(chat('a', 'running'))).toBe('⚙ 1 running');
  });

  it('is empty when nothing runs', () => {
    expect(line(chat('a', 'finished'), chat('b', 'waiting', { needs: 1 }))).toBe('');
  });
});

describe('a run that only publishes', () => {
  it('is no second end of the research', () => {
    const log = new NoticeLog();
    const published = (state: string) =>
      ({
        publication: { state, repository: 'ana/x', url: '', pull: null, pullState: '', checks: '', ahead: 0 }
      }) as never;
    log.read(list(chat('p', 'running')));
    expect(log.read(list(chat('p', 'finished'))).map(each => each.kind)).toEqual(['finished']);
    log.read(list(chat('p', 'running', published('publishing'))));
    log.read(list(chat('p', 'running', published('published'))));
    expect(log.read(list(chat('p', 'finished', published('published'))))).toEqual([]);
    log.read(list(chat('p', 'running', published('published'))));
    expect(log.read(list(chat('p', 'finished', published('published')))).map(each => each.kind)).toEqual([
      'finished'
    ]);
  });
});
