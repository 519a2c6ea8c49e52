import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { RequestFailed, createClient, type Live } from '../client';
import type { SessionView, UserItem } from '../model';
import { CHAT, Wire } from './wire';

let wire: Wire;
let live: Live;
const alive: Live[] = [];

const say = (content: string) => ({ type: 'assistant_message', itemId: content, content });
const token = (delta: string) => ({ type: 'token', itemId: 'i1', delta });
const view = (id = CHAT): SessionView => live.store.getState().views[id] as SessionView;
const connection = () => live.store.getState().connection;
const texts = (id = CHAT) => view(id).items.map(item => ('content' in item ? item.content : item.kind));
const settle = (ms = 200) => vi.advanceTimersByTimeAsync(ms);
const subscribes = () =>
  wire.last.sent.filter(frame => frame.type === 'subscribe' && frame.chatId !== undefined);

function start(): void {
  live = createClient(wire, { random: () => 0.5 });
  alive.push(live);
  live.client.start();
}

function visibility(state: 'visible' | 'hidden'): void {
  Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}

beforeEach(() => {
  vi.useFakeTimers();
  wire = new Wire();
  wire.log();
});

afterEach(() => {
  alive.splice(0).forEach(one => one.client.dispose());
  visibility('visible');
  vi.useRealTimers();
});

describe('a session that is followed', () => {
  it('is shown as it was and as it goes on, and no more once it is closed', async () => {
    wire.happen(say('one'));
    start();
    const close = live.client.open(CHAT);
    await settle();
    expect(wire.last.sent[0]).toEqual({ type: 'hello', client: 'panel', caps: ['batch'] });
    expect(connection()).toMatchObject({ state: 'connected', lostAt: null, retryAt: null });
    expect(texts()).toEqual(['one']);
    wire.happen(say('two'));
    await settle();
    expect(texts()).toEqual(['one', 'two']);
    close();
    close();
    await settle();
    wire.happen(say('three'));
    await settle();
    expect(texts()).toEqual(['one', 'two']);
    live.client.open(CHAT);
    await settle();
    expect(texts()).toEqual(['one', 'two', 'three']);
    expect(view().caughtUp).toBeNull();
  });

  it('that is opened twice is subscribed to once, until both are closed', async () => {
    start();
    const [a, b] = [live.client.open(CHAT), live.client.open(CHAT)];
    await settle();
    expect(subscribes()).toHaveLength(1);
    a();
    wire.happen(say('one'));
    await settle();
    expect(texts()).toEqual(['one']);
    b();
    expect(wire.last.sent.at(-1)).toEqual({ type: 'unsubscribe', chatId: CHAT });
  });

  it('that does not exist is gone; one that is deleted goes', async () => {
    start();
    live.client.open('nope');
    live.client.open(CHAT);
    await settle();
    expect(view('nope').loaded).toBe('gone');
    wire.last.give({ type: 'session', v: 1, ts: '', chatId: CHAT, deleted: true });
    await settle();
    expect(view().loaded).toBe('gone');
  });

  it('is asked for again when the server could not follow it just now', async () => {
    start();
    live.client.open(CHAT);
    await settle();
    const lost = { code: 'internal', error: 'Following this chat failed.', retryable: true };
    wire.last.give({ type: 'error', v: 1, ts: '', chatId: CHAT, ...lost });
    await settle(2_500);
    expect(subscribes()).toHaveLength(2);
    expect(view().loaded).toBe('yes');
  });

  it('loads afresh when its log was replaced', async () => {
    wire.happen(say('old'));
    wire.happen(say('older'));
    start();
    live.client.open(CHAT);
    await settle();
    wire.last.end();
    wire.logs.set(CHAT, []);
    wire.happen(say('restored'));
    await settle(2_000);
    expect(texts()).toEqual(['restored']);
    expect(view().loaded).toBe('yes');
  });

  it('stays below the number that one connection may follow, the newest first', async () => {
    wire.subscriptions = 4;
    const ids = ['a', 'b', 'c', 'd', 'e'];
    ids.forEach(id => wire.log(id));
    start();
    await settle();
    const closers = ids.map(id => live.client.open(id));
    await settle();
    ids.forEach(id => wire.happen(say(`in ${id}`), id));
    await settle();
    expect(ids.map(id => view(id).items.length)).toEqual([0, 0, 1, 1, 1]);
    expect(ids.map(id => view(id).loaded)).not.toContain('failed');
    closers[4]?.();
    closers[3]?.();
    await settle();
    expect(ids.map(id => view(id).items.length)).toEqual([1, 1, 1, 1, 1]);
  });

  it('asks no faster than the server lets it', async () => {
    const ids = Array.from({ length: 62 }, (_, i) => `s${i}`);
    ids.forEach(id => wire.log(id));
    start();
    ids.forEach(id => live.client.open(id));
    await settle(100);
    expect(wire.last.sent.length).toBeLessThanOrEqual(60);
    await settle(2_000);
    expect(ids.every(id => view(id).loaded === 'yes')).toBe(true);
  });
});

describe('a lost connection', () => {
  it('misses nothing and shows nothing twice, and says how much it caught up', async () => {
    wire.happen(say('one'));
    start();
    live.client.open(CHAT);
    await settle();
    wire.happen(token('be'), CHAT, true);
    wire.last.end();
    expect(connection().state).not.toBe('offline');
    wire.happen(token('cause'), CHAT, true);
    wire.happen({ type: 'assistant_message', itemId: 'i1', content: 'because', replaces: [2, 3] });
    wire.happen(say('three'));
    await settle(50);
    expect(connection()).toMatchObject({ state: 'reconnecting', retryAt: expect.any(Number) as number });
    await settle(2_000);
    expect(subscribes()).toEqual([{ type: 'subscribe', chatId: CHAT, after: 2 }]);
    expect(texts()).toEqual(['one', 'because', 'three']);
    expect(view().caughtUp).toMatchObject({ events: 2 });
    await settle(4_500);
    expect(view().caughtUp).toBeNull();
    wire.happen(say('four'));
    await settle();
    expect(view().caughtUp).toBeNull();
  });

  it('is cut at every place without a hole or a double', async () => {
    start();
    live.client.open(CHAT);
    await settle();
    for (let i = 0; i < 20; i++) {
      wire.happen(say(`m${i}`));
      if (i % 3 === 0) {
        wire.last.end(i % 2 === 0 ? 1012 : 1006);
      }
      wire.happen(say(`n${i}`));
      await settle(i % 4 === 0 ? 5_000 : 300);
    }
    await settle(20_000);
    const all = Array.from({ length: 20 }, (_, i) => [`m${i}`, `n${i}`]).flat();
    expect(texts()).toEqual(all);
  });

  it('is tried again ever more slowly, at most every 15 s, and at once when the network or the user is back', async () => {
    start();
    await settle();
    wire.refuse = 0;
    wire.last.end();
    const gaps: number[] = [];
    let before = Date.now();
    for (let seen = wire.sockets.length; gaps.length < 9;) {
      await vi.advanceTimersByTimeAsync(50);
      if (wire.sockets.length > seen) {
        seen = wire.sockets.length;
        gaps.push(Date.now() - before);
        before = Date.now();
      }
    }
    expect(gaps[0]).toBeLessThanOrEqual(500);
    expect(gaps[3]).toBeGreaterThan((gaps[1] as number) * 2);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(15_050);
    expect(gaps[8]).toBeGreaterThan(10_000);
    const count = wire.sockets.length;
    window.dispatchEvent(new Event('online'));
    expect(wire.sockets.length).toBe(count + 1);
    await settle(10);
    live.client.retryNow();
    expect(wire.sockets.length).toBe(count + 2);
  });

  it('waits as long as a server that says goodbye asks for', async () => {
    start();
    await settle();
    wire.last.give({ type: 'bye', v: 1, ts: '', reason: 'restart', retryAfterMs: 4_000 });
    wire.last.end(1012);
    await settle(3_900);
    expect(wire.sockets).toHaveLength(1);
    await settle(2_000);
    expect(wire.sockets).toHaveLength(2);
    expect(connection().state).toBe('connected');
  });

  it('is found out within 25 s when the line is dead but nobody says so', async () => {
    start();
    await settle();
    await settle(60_000);
    expect(wire.sockets).toHaveLength(1);
    expect(wire.last.sent.filter(frame => frame.type === 'ping').length).toBeGreaterThan(3);
    wire.dead = true;
    await settle(25_500);
    expect(connection().state).toBe('reconnecting');
  });

  it('is not believed of a hidden tab whose timers come late', async () => {
    start();
    await settle();
    // As browsers do: timers of a hidden tab stand still for a minute, and answers still come in at once.
    vi.setSystemTime(Date.now() + 60_000);
    await settle(6_000);
    vi.setSystemTime(Date.now() + 60_000);
    await settle(6_000);
    expect(wire.sockets).toHaveLength(1);
    expect(connection().state).toBe('connected');
  });

  it('is found out soon after a machine has slept', async () => {
    start();
    await settle();
    wire.dead = true;
    visibility('visible');
    await settle(5_000);
    expect(connection().state).toBe('reconnecting');
  });

  it('is also one to a server that lets us in and says nothing', async () => {
    wire.dead = true;
    start();
    await settle(9_900);
    expect(connection().state).toBe('connecting');
    await settle(200);
    expect(connection()).toMatchObject({ state: 'reconnecting' });
    wire.dead = false;
    await settle(2_000);
    expect(connection().state).toBe('connected');
  });
});

describe('the reason of a lost connection', () => {
  it.each([401, 403])('is an expired login when a request gets %i', async status => {
    start();
    await settle();
    wire.refuse = status;
    wire.last.end();
    await settle(2_000);
    expect(connection()).toMatchObject({
      state: 'expired',
      problem: { error: 'Your Jupyter login expired. Reload the page.' }
    });
    wire.refuse = null;
    await settle(16_000);
    expect(connection()).toMatchObject({ state: 'connected', problem: null });
  });

  it('is an expired login when the server closes with 4401', async () => {
    start();
    await settle();
    wire.refuse = 0;
    wire.last.end(4401);
    await settle();
    expect(connection().state).toBe('expired');
  });

  it('is a server without our part when the first request gets 404', async () => {
    wire.refuse = 404;
    start();
    await settle(400);
    expect(connection()).toMatchObject({ state: 'missing', problem: { code: 'not_found' } });
    expect(connection().problem?.error).toContain('jupyter server extension enable jupyterlab_postdoc');
  });

  it('is the lack of a network when the browser says so', async () => {
    start();
    await settle();
    vi.spyOn(navigator, 'onLine', 'get').mockReturnValue(false);
    wire.refuse = 0;
    wire.last.end();
    await settle(50);
    expect(connection().state).toBe('offline');
  });
});

describe('commands', () => {
  beforeEach(async () => {
    start();
    live.client.open(CHAT);
    await settle();
  });

  it('show a message at once, and the real one in its place', async () => {
    wire.loseAck = true;
    const said = live.client.say(CHAT, 'Go on');
    await vi.advanceTimersByTimeAsync(0);
    await said; // the message in the log is as good as its ack
    await settle();
    expect(texts()).toEqual(['Go on']);
    expect(view().items[0]).not.toHaveProperty('sending');
  });

  it('are done once although the ack was lost with the connection', async () => {
    wire.loseAck = true;
    const stopped = live.client.stop(CHAT);
    await settle(10);
    wire.last.end();
    await settle(2_000);
    await stopped;
    expect(wire.done).toBe(1);
    const ids = wire.sockets.flatMap(socket => socket.sent.filter(frame => frame.type === 'stop'));
    expect(ids).toHaveLength(2);
    expect(ids[0]?.id).toBe(ids[1]?.id);
  });

  it('are not given up while there is a connection, however long the answer takes', async () => {
    wire.loseAck = true;
    let over = false;
    const stopped = live.client.stop(CHAT).finally(() => (over = true));
    await settle(100_000);
    expect(over).toBe(false);
    wire.last.end();
    await settle(2_000);
    await stopped;
    expect(wire.done).toBe(1);
  });

  it('wait for the connection, in their order', async () => {
    wire.refuse = 0;
    wire.last.end();
    await settle(50);
    const said = [live.client.say(CHAT, 'first'), live.client.say(CHAT, 'second')];
    await settle(100);
    expect(view().items).toMatchObject([{ sending: 'pending' }, { sending: 'pending' }]);
    wire.refuse = null;
    await settle(20_000);
    await Promise.all(said);
    expect(texts()).toEqual(['first', 'second']);
    expect(view().items.some(item => 'sending' in item && item.sending)).toBe(false);
    expect(wire.done).toBe(2);
  });

  it('that could not be sent for half a minute say so, and can be sent again or forgotten', async () => {
    wire.refuse = 0;
    wire.last.end();
    await settle(50);
    const failing = live.client.say(CHAT, 'hello', 'steer').catch((error: RequestFailed) => error);
    await settle(29_000);
    expect(view().items).toMatchObject([{ sending: 'pending' }]);
    await settle(2_000);
    expect(await failing).toMatchObject({ problem: { code: 'offline', error: 'Not sent.' } });
    expect(view().items).toMatchObject([{ sending: 'failed', problem: { retryable: true } }]);
    const other = live.client.say(CHAT, 'never mind').catch((error: unknown) => error);
    await settle(31_000);
    await other;
    const [first, second] = view().items as UserItem[];
    live.client.forget(CHAT, second?.id as string);
    wire.refuse = null;
    await settle(16_000);
    expect(wire.done).toBe(0); // what was given up is not sent behind the user's back
    const again = live.client.resend(CHAT, first?.id as string);
    await settle();
    await again;
    expect(texts()).toEqual(['hello']);
    expect(wire.last.sent.find(frame => frame.type === 'chat')).toMatchObject({
      mode: 'steer',
      id: first?.id
    });
  });

  it('that are forgotten while they wait do not come back', async () => {
    wire.refuse = 0;
    wire.last.end();
    const said = live.client.say(CHAT, 'oh').catch((error: unknown) => error);
    await settle(50);
    live.client.forget(CHAT, (view().items[0] as UserItem).id);
    await said;
    await settle(100);
    expect(view().items).toEqual([]);
  });

  it('that are refused say what to do', async () => {
    const error = await Promise.all([
      live.client.say(CHAT, 'refuse me').catch((failed: unknown) => failed),
      settle()
    ]).then(([failed]) => failed);
    expect(error).toBeInstanceOf(RequestFailed);
    expect(view().items).toMatchObject([
      { sending: 'failed', problem: { code: 'queue_full', next: 'Wait.' } }
    ]);
    expect(view().loaded).toBe('yes');
  });

  it('that are too long are not sent at all', async () => {
    const failed = await live.client.say(CHAT, 'x'.repeat(1 << 20)).catch((error: RequestFailed) => error);
    expect(failed).toMatchObject({ problem: { code: 'too_large' } });
    expect(wire.last.sent.some(frame => frame.type === 'chat')).toBe(false);
  });

  it('research: the same key makes the same session and the same command', async () => {
    wire.rest = path => (path === 'api/chats' ? { id: 'c9' } : {});
    const research = { topic: 'Momentum', title: 'M', budget: { usd: 2 } };
    expect(await live.client.research(research, 'k1')).toBe('c9');
    expect(await live.client.research(research, 'k1')).toBe('c9');
    const sent = wire.requests.map(({ path, init }) => [
      path,
      new Headers(init?.headers).get('Idempotency-Key')
    ]);
    expect(sent.slice(0, 2)).toEqual([
      ['api/chats', 'k1'],
      ['api/chats/c9/research', 'k1.research']
    ]);
    expect(sent.slice(2)).toEqual(sent.slice(0, 2));
    expect(JSON.parse(wire.requests[1]?.init?.body as string)).toEqual({
      topic: 'Momentum',
      budget: { usd: 2 }
    });
  });
});

describe('what is fetched besides', () => {
  it('older pages come before what is there, once', async () => {
    start();
    for (let i = 1; i <= 4; i++) {
      wire.happen(say(`m${i}`));
    }
    const older = wire.log().splice(0, 2);
    live.client.open(CHAT);
    await settle();
    wire.last.give({
      type: 'history', v: 1, ts: '', chatId: CHAT, messages: wire.log(), state: 'running', queue: [],
      fromSeq: 3, throughSeq: 4, hasMore: true
    }); // prettier-ignore
    wire.rest = path =>
      path.includes('before=3') ? older : path.includes('/events') ? { events: [], more: false } : null;
    await settle();
    await Promise.all([live.client.loadEarlier(CHAT), live.client.loadEarlier(CHAT)]);
    await settle();
    expect(texts()).toEqual(['m1', 'm2', 'm3', 'm4']);
    expect(view()).toMatchObject({ hasMore: false, loadingEarlier: false, firstSeq: 1 });
  });

  it('a long session knows its artifacts, its limits and its cost although their events are far above', async () => {
    const run = { runId: 'r1' };
    const early = [
      { type: 'user_message', id: 'u', content: 'x', by: 'ana', research: { budget: { usd: 3 } }, ...run },
      { type: 'session_state', status: 'running', version: 1, ...run },
      { type: 'artifact', artifact: 'notebook', path: 'n.py', ...run },
      { type: 'usage', tokens: { input_tokens: 10, output_tokens: 5 }, cost: 0.5, ...run }
    ].map((body, i) => ({ v: 1, ts: '2026-11-21T08:00:00.000Z', chatId: CHAT, seq: i + 1, ...body }));
    start();
    live.client.open(CHAT);
    await settle();
    wire.rest = path => (path.includes('/events?after=0') ? { events: early, more: false } : null);
    wire.last.give({
      type: 'history', v: 1, ts: '', chatId: CHAT, state: 'running', queue: [], fromSeq: 9, throughSeq: 9, hasMore: true,
      messages: [{ v: 1, ts: '2026-11-21T08:30:00.000Z', chatId: CHAT, seq: 9, ...say('late'), ...run }]
    }); // prettier-ignore
    await settle();
    expect(texts()).toEqual(['late']);
    expect(view()).toMatchObject({
      firstSeq: 9,
      artifacts: { notebook: { path: 'n.py' } },
      limits: { usd: 3 },
      spent: { tokensIn: 10, tokensOut: 5, cost: 0.5 },
      runStartedAt: Date.parse('2026-11-21T08:00:00.000Z')
    });
  });

  it('an event that was cut for its frame is fetched whole', async () => {
    start();
    live.client.open(CHAT);
    await settle();
    const path = `api/chats/${CHAT}/blobs/1`;
    wire.rest = asked => (asked === path ? { ...wire.log()[0], ...say('all of it'), itemId: 'i' } : null);
    wire.happen({ ...say('all…'), itemId: 'i', truncated: true, blob: path });
    await settle();
    expect(texts()).toEqual(['all of it']);
  });

  it('archived sessions join the list and stay in it after a reconnection', async () => {
    start();
    await settle();
    wire.rest = path => (path.startsWith('api/chats?archived=true') ? [{ id: 'old', archived: true }] : null);
    await live.client.loadArchived();
    await settle();
    expect(Object.keys(live.store.getState().sessions ?? {})).toEqual(['old']);
    wire.last.end();
    await settle(2_000);
    expect(Object.keys(live.store.getState().sessions ?? {})).toEqual(['old']);
  });
});

describe('the store', () => {
  it('tells of streamed text no oftener than asked, and of anything else at the next frame', async () => {
    start();
    live.client.open(CHAT);
    await settle();
    live.setFlush(100);
    let told = 0;
    live.store.subscribe(() => (told += 1));
    for (let i = 0; i < 100; i++) {
      wire.happen(token('a '), CHAT, true);
      await settle(10);
    }
    await settle(200);
    expect(told).toBeGreaterThanOrEqual(7);
    expect(told).toBeLessThanOrEqual(12);
    told = 0;
    wire.happen(say('done'));
    await settle(20);
    expect(told).toBe(1);
  });

  it('keeps up in a hidden tab, where there are no frames', async () => {
    start();
    live.client.open(CHAT);
    await settle();
    vi.spyOn(globalThis, 'requestAnimationFrame').mockImplementation(() => 0);
    visibility('hidden');
    wire.happen(say('one'));
    await settle(300);
    expect(texts()).toEqual(['one']);
    visibility('visible');
    wire.happen(say('two'));
    await settle(300);
    expect(texts()).toEqual(['one', 'two']);
  });
});

it('holds no timer and no socket once it is let go', async () => {
  start();
  live.client.open(CHAT);
  await settle();
  live.client.dispose();
  expect(vi.getTimerCount()).toBe(0);
  expect(wire.last.readyState).toBe(3);
  window.dispatchEvent(new Event('online'));
  expect(wire.sockets).toHaveLength(1);
});
