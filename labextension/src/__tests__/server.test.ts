/**
 * The client against a real Jupyter server with the template provider, which is killed in mid-run and started again.
 * Needs the environment variable POSTDOC_PYTHON: a Python with this package (and its server extension) installed.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';

import { createClient, type Live, type Server } from '../client';
import type { EventFrame } from '../protocol';
import { emptyView, reduce } from '../store/reduce';

const PYTHON = process.env.POSTDOC_PYTHON;
const TOKEN = 'a token for one test';
const home = mkdtempSync(join(tmpdir(), 'postdoc-client-'));
let port = 0;
let jupyter: ChildProcess | null = null;
const alive: Live[] = [];

async function freePort(): Promise<number> {
  return new Promise(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

async function until(what: string, test: () => boolean | Promise<boolean>, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!(await test())) {
    if (Date.now() > end) {
      throw new Error(`not in ${ms / 1000} s: ${what}`);
    }
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

async function startJupyter(): Promise<void> {
  const log = openSync(join(home, 'server.log'), 'a');
  ['root', 'config', 'data', 'runtime'].forEach(name => mkdirSync(join(home, name), { recursive: true }));
  const env = Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(POSTDOC_|JUPYTER_|ANTHROPIC_|GITHUB_|GH_|DATABASE_URL)/.test(name)
    )
  );
  jupyter = spawn(
    PYTHON as string,
    [
      ...['-m', 'jupyter', 'server', '--no-browser', '--ip=127.0.0.1', `--port=${port}`, '--allow-root'],
      ...[`--IdentityProvider.token=${TOKEN}`, `--ServerApp.root_dir=${join(home, 'root')}`],
      '--ServerApp.port_retries=0',
      `--ServerApp.allow_origin=${window.location.origin}`,
      '--ServerApp.jpserver_extensions={"jupyterlab_postdoc": True}'
    ],
    {
      cwd: join(home, 'root'),
      stdio: ['ignore', log, log],
      env: {
        ...env,
        HOME: home,
        JUPYTER_CONFIG_DIR: join(home, 'config'),
        JUPYTER_DATA_DIR: join(home, 'data'),
        JUPYTER_RUNTIME_DIR: join(home, 'runtime'),
        GIT_CONFIG_GLOBAL: '/dev/null'
      }
    }
  );
  await until('the server answers', async () => {
    if (jupyter?.exitCode !== null) {
      throw new Error(`the server ended; see ${home}/server.log`);
    }
    return server.request('api/personas').then(
      response => response.ok,
      () => false
    );
  });
}

async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
  const gone = jupyter;
  jupyter = null;
  if (gone !== null && gone.exitCode === null) {
    const ended = new Promise(resolve => gone.once('exit', resolve));
    gone.kill(signal);
    await ended;
  }
}

const server: Server = {
  request: (path, init) =>
    fetch(server.url(path), {
      ...init,
      headers: { ...(init?.headers as Record<string, string>), Authorization: `token ${TOKEN}` }
    }),
  socket: path =>
    new WebSocket(`${server.url(path).replace('http', 'ws')}?token=${encodeURIComponent(TOKEN)}`),
  url: path => `http://127.0.0.1:${port}/postdoc/${path}`
};

function panel(): Live {
  const live = createClient(server);
  alive.push(live);
  live.client.start();
  return live;
}

const view = (live: Live, id: string) => live.store.getState().views[id];

/** The view that the whole log makes: what any client must show in the end. */
async function truth(id: string) {
  const response = await server.request(`api/chats/${id}/messages?limit=1000`);
  return reduce(emptyView(id), (await response.json()) as EventFrame[], 0);
}

beforeAll(async () => {
  if (PYTHON !== undefined) {
    port = await freePort();
    await startJupyter();
  }
}, 90_000);

afterEach(() => alive.splice(0).forEach(live => live.client.dispose()));

afterAll(async () => {
  await end('SIGTERM');
  rmSync(home, { recursive: true, force: true });
}, 30_000);

// Without POSTDOC_PYTHON there is no server to talk to.
it.skipIf(PYTHON === undefined)(
  'a research run whose server is killed comes to its end without a hole or a double',
  async () => {
    const live = panel();
    const research = { topic: 'Short Term Reversal', template: 'equity_signal', provider: 'template' };
    await until('connected', () => live.store.getState().connection.state === 'connected');
    const [id, same] = await Promise.all([
      live.client.research(research, 'key-1'),
      live.client.research(research, 'key-1')
    ]);
    expect(same).toBe(id);
    live.client.open(id);
    await until('at work', () => (view(live, id)?.items.length ?? 0) > 8);
    await end('SIGKILL');
    await until('said so', () => live.store.getState().connection.state === 'reconnecting');
    const before = view(live, id);
    await startJupyter();
    await until('back', () => live.store.getState().connection.state === 'connected');
    await until('finished', () => view(live, id)?.status === 'finished', 120_000);
    const whole = await truth(id);
    const shown = view(live, id);
    const rows = (items: NonNullable<typeof shown>['items']) =>
      items.map(item => JSON.stringify({ ...item, seq: 0, at: 0, startedAt: 0, endedAt: 0 }));
    expect(rows(shown?.items ?? [])).toEqual(rows(whole.items));
    expect(shown?.items.length).toBeGreaterThan(before?.items.length ?? 0);
    expect(new Set(shown?.items.map(item => item.key)).size).toBe(shown?.items.length);
    expect(shown?.artifacts).toEqual(whole.artifacts);
    expect(shown?.items.filter(item => item.kind === 'result')).toHaveLength(1);
    const late = panel();
    late.client.open(id);
    await until('loaded', () => view(late, id)?.loaded === 'yes');
    for (let page = 0; page < 10 && view(late, id)?.hasMore; page++) {
      const { firstSeq } = view(late, id) ?? { firstSeq: 0 };
      await late.client.loadEarlier(id);
      await until('shown', () => !view(late, id)?.hasMore || view(late, id)?.firstSeq !== firstSeq);
    }
    expect(rows(view(late, id)?.items ?? [])).toEqual(rows(whole.items));
  },
  240_000
);

it.skipIf(PYTHON === undefined)(
  'a room is followed by two clients, also before the first word in it',
  async () => {
    const [one, two] = [panel(), panel()];
    two.client.open('room:lab');
    await until('connected', () => two.store.getState().connection.state === 'connected');
    await one.client.post('lab', 'The data is in.', 'status', 'codex');
    await until('heard', () => (view(two, 'room:lab')?.items.length ?? 0) === 1);
    expect(view(two, 'room:lab')?.items[0]).toMatchObject({
      kind: 'user',
      agent: 'codex',
      messageKind: 'status',
      content: 'The data is in.'
    });
  },
  30_000
);

it.skipIf(PYTHON === undefined)('a command that is refused says why', async () => {
  const live = panel();
  const chat = await live.client.create({ title: 'A chat' });
  live.client.open(chat.id);
  await until('open', () => view(live, chat.id)?.loaded === 'yes');
  await expect(live.client.respond(chat.id, 'nothing', { answer: 'yes' })).rejects.toMatchObject({
    problem: { code: 'not_found' }
  });
  await live.client.set(chat.id, { title: 'Another title' });
  await until('titled', () => view(live, chat.id)?.title === 'Another title');
  await until('listed', () => live.store.getState().sessions?.[chat.id]?.title === 'Another title');
  await live.client.delete(chat.id);
  await until('gone', () => view(live, chat.id)?.loaded === 'gone');
});

it.skipIf(PYTHON === undefined)(
  'a research that is refused leaves no empty session, and its key can be used again',
  async () => {
    const live = panel();
    live.client.start();
    await until('connected', () => live.store.getState().connection.state === 'connected');
    const known = new Set(
      ((await (await server.request('api/chats')).json()) as { id: string }[]).map(chat => chat.id)
    );
    const wrong = { topic: 'Momentum', template: 'no_such_template', provider: 'template' };
    await expect(live.client.research(wrong, 'one-key')).rejects.toMatchObject({
      problem: { retryable: false }
    });
    const left = ((await (await server.request('api/chats')).json()) as { id: string }[]).filter(
      chat => !known.has(chat.id)
    );
    expect(left).toEqual([]);
    const id = await live.client.research({ topic: 'Momentum', provider: 'template' }, 'one-key');
    await live.client.stop(id, 'now');
    const ids = ((await (await server.request('api/chats')).json()) as { id: string }[]).map(chat => chat.id);
    expect(ids.filter(one => !known.has(one))).toEqual([id]);
  }
);
