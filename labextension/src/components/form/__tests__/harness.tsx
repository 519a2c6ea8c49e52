/** A panel in a test: the real client and store over a server in memory. */
import { render } from '@testing-library/react';
import axe from 'axe-core';
import React from 'react';
import { expect } from 'vitest';

import { Wire } from '../../../__tests__/wire';
import { createClient } from '../../../client';
import { createPageMarkdown } from '../../../markdown/page';
import { Navigation, NavigationProvider } from '../../../navigation';
import type { Platform, Settings, Trans } from '../../../platform';
import { DEFAULT_SETTINGS, PlatformProvider } from '../../../platform';
import templates from './fixtures/templates.json';

export { templates };

const fill = (text: string, args: unknown[]) => text.replace(/%(\d)/g, (_, i) => String(args[Number(i) - 1]));

export const trans: Trans = {
  __: (message, ...args) => fill(message, args),
  _n: (one, many, n, ...args) => fill(n === 1 ? one : many, [n, ...args])
};

export const models = [
  {
    id: 'template',
    provider: 'template',
    label: 'Template script (no AI model)',
    available: true,
    kinds: ['research'],
    default: true
  },
  {
    id: 'claude-sonnet-5-5',
    line: 'sonnet',
    provider: 'anthropic',
    label: 'Claude Sonnet 5.5',
    available: true,
    kinds: ['chat', 'research'],
    prices: { input: 2, output: 10 },
    default: false
  },
  {
    id: 'claude-opus-5-5',
    line: 'opus',
    provider: 'anthropic',
    label: 'Claude Opus 5.5',
    available: false,
    reason: 'Not for you.',
    next: 'Ask the administrator.',
    kinds: ['chat', 'research'],
    default: false
  }
];

export const personas = [
  { name: 'researcher', title: 'Researcher', tools: null, model: null, default: true },
  { name: 'reviewer', title: 'Reviewer', tools: ['plan', 'grep'], model: null, default: false }
];

/** What was sent to the server to change something. */
export interface Sent {
  path: string;
  body: Record<string, unknown>;
  key: string | undefined;
}

export interface Panel {
  wire: Wire;
  platform: Platform;
  navigation: Navigation;
  memory: Map<string, unknown>;
  /** POSTs, in order. */
  posts: () => Sent[];
  /** The next `research` is refused with this, or lost (`null`). */
  refuse: (answer: Record<string, unknown> | null, status?: number) => void;
  show: (element: React.ReactElement) => ReturnType<typeof render>;
}

export function panel(settings: Partial<Settings> = {}, more: Partial<Platform> = {}): Panel {
  const wire = new Wire();
  let refusal: { answer: Record<string, unknown> | null; status: number } | null = null;
  wire.rest = path =>
    ({ 'api/templates': templates, 'api/models': models, 'api/personas': personas, 'api/rooms': [] })[
      path
    ] ?? {
      id: 'c_new'
    };
  const { request } = wire;
  wire.request = async (path, init) => {
    const answer = await request(path, init);
    if (refusal !== null && path.endsWith('/research')) {
      const now = refusal;
      refusal = null;
      if (now.answer === null) {
        throw new TypeError('Failed to fetch');
      }
      return new Response(JSON.stringify(now.answer), { status: now.status });
    }
    return answer;
  };
  const { client, store } = createClient(wire);
  const memory = new Map<string, unknown>();
  const chosen = { ...DEFAULT_SETTINGS, ...settings };
  const platform: Platform = {
    kind: 'page',
    client,
    store,
    trans,
    language: 'en',
    markdown: createPageMarkdown(),
    memory: {
      get: key => Promise.resolve(memory.get(key)),
      set: (key, value) => {
        memory.set(key, structuredClone(value));
        return Promise.resolve();
      }
    },
    settings: () => chosen,
    onSettingsChanged: () => () => undefined,
    confirm: () => Promise.resolve(true),
    copy: () => Promise.resolve(),
    ...more
  };
  const navigation = new Navigation();
  client.start();
  return {
    wire,
    platform,
    navigation,
    memory,
    posts: () =>
      wire.requests
        .filter(one => one.init?.method === 'POST')
        .map(({ path, init }) => ({
          path,
          body: JSON.parse(String(init?.body)) as Record<string, unknown>,
          key: (init?.headers as Record<string, string> | undefined)?.['Idempotency-Key']
        })),
    refuse: (answer, status = 400) => {
      refusal = { answer, status };
    },
    show: element =>
      render(
        <PlatformProvider value={platform}>
          <NavigationProvider value={navigation}>
            <main className="jp-Postdoc">{element}</main>
          </NavigationProvider>
        </PlatformProvider>
      )
  };
}

/** Nothing that keeps people out. Colours and sizes are looked at in a real browser. */
export async function expectAccessible(): Promise<void> {
  const { violations } = await axe.run(document.body, {
    rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
  });
  expect(violations.map(({ id, nodes }) => [id, nodes.map(node => node.html)])).toEqual([]);
}
