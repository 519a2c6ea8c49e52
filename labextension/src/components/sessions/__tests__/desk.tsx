/** A panel on a server in memory: the real client and store, a platform that writes down what it is asked. */
import React from 'react';

import type { Socket } from '../../../__tests__/wire';
import { Wire } from '../../../__tests__/wire';
import { createClient } from '../../../client';
import type { ChatInfo } from '../../../model';
import { Navigation, NavigationProvider } from '../../../navigation';
import { DEFAULT_SETTINGS, PlatformProvider } from '../../../platform';
import type { Ask, Memory, Platform } from '../../../platform';

const NOW = Date.now() - 3_600_000;

let made = 0;

/** A session as the server describes it. */
export function chat(change: Partial<ChatInfo> = {}): ChatInfo {
  made += 1;
  const at = new Date(NOW - made * 60_000).toISOString();
  return {
    id: `c${made}`,
    title: `Session ${made}`,
    kind: 'research',
    state: 'finished',
    reason: 'end_turn',
    model: null,
    persona: null,
    provider: 'template',
    archived: false,
    version: 1,
    lastSeq: 10,
    createdAt: at,
    updatedAt: at,
    project: null,
    template: null,
    line: null,
    cost: null,
    needs: 0,
    publication: null,
    notebook: null,
    repository: null,
    ...change
  };
}

export const TEMPLATES = [
  [
    'equity_signal',
    'Cross-sectional signal study',
    'Do assets with a high score earn more? Reversal or momentum.'
  ],
  ['group_comparison', 'Comparison of two groups', 'Do two groups differ, and by how much? With intervals.'],
  ['forecast', 'Forecast', 'Can this series be forecast better than by simple rules? Backtest.'],
  [
    'dataset_profile',
    'Profile of a table',
    'What is in a file, and what would spoil an analysis of it? Advice.'
  ]
].map(([name, title, summary]) => ({
  name,
  title,
  summary,
  version: '1',
  parameters: {},
  topics: [],
  plan: []
}));

export const NO_KEY = [
  {
    id: 'template',
    provider: 'template',
    label: 'Template script',
    available: true,
    kinds: [],
    default: true
  },
  { id: 'sonnet', provider: 'anthropic', label: 'Claude Sonnet', available: false, kinds: [], default: false }
];
export const WITH_KEY = NO_KEY.map(model => ({ ...model, available: true }));

/** The wire, with a list of sessions, templates and models. */
export class Office extends Wire {
  chats = new Map<string, ChatInfo>();
  models: object[] = WITH_KEY;
  templates: object[] = TEMPLATES;
  /** Commands that the socket has carried out. */
  commands: Record<string, unknown>[] = [];

  constructor(chats: readonly ChatInfo[] = []) {
    super();
    chats.forEach(one => this.chats.set(one.id, one));
    this.rest = (path, init) => {
      const id = /^api\/chats\/([^/?]+)$/.exec(path)?.[1];
      if (id !== undefined && init?.method === 'DELETE') {
        return this.chats.delete(id) ? {} : null;
      }
      switch (path.split('?')[0]) {
        case 'api/templates':
          return this.templates;
        case 'api/models':
          return this.models;
        case 'api/chats':
          return [...this.chats.values()].filter(one => one.archived === path.includes('archived=true'));
        case 'api/personas':
        case 'api/rooms':
          return [];
        default:
          return null;
      }
    };
  }

  /** A session is new or has changed: who follows the list hears of it. */
  tell(info: ChatInfo): void {
    this.chats.set(info.id, info);
    this.last.give({ type: 'session', v: 1, ts: '', chatId: info.id, session: info });
  }

  override answer(socket: Socket, frame: Record<string, unknown>): void {
    if (frame.type === 'subscribe' && frame.sessions === true) {
      const sessions = [...this.chats.values()].filter(one => !one.archived);
      socket.give({ type: 'sessions', v: 1, ts: '', sessions });
      return;
    }
    if (frame.type === 'session.set') {
      this.commands.push(frame);
      const known = this.chats.get(frame.chatId as string);
      if (known !== undefined) {
        const { title = known.title, archived = known.archived } = frame as Partial<ChatInfo>;
        this.tell({ ...known, title, archived, version: known.version + 1 });
      }
    }
    super.answer(socket, frame);
  }
}

export interface Desk {
  office: Office;
  platform: Platform;
  navigation: Navigation;
  /** What the platform was asked to do, in order. */
  asked: unknown[][];
  /** The questions put to the user; `yes` is their answer. */
  questions: Ask[];
  answer: { yes: boolean };
  kept: Map<string, unknown>;
}

const TRANS: Platform['trans'] = {
  __: (text, ...args) => text.replace(/%(\d)/g, (_, n: string) => String(args[Number(n) - 1])),
  _n: (one, many, n, ...args) => TRANS.__(n === 1 ? one : many, n, ...args)
};

/** A desk with a client that is not started yet. */
export function desk(chats: readonly ChatInfo[] = [], kept = new Map<string, unknown>()): Desk {
  const office = new Office(chats);
  const { client, store } = createClient(office);
  const asked: unknown[][] = [];
  const questions: Ask[] = [];
  const answer = { yes: true };
  const note =
    (name: string) =>
    (...args: unknown[]) =>
      void asked.push([name, ...args]);
  const memory: Memory = {
    get: async key => kept.get(key),
    set: async (key, value) => void kept.set(key, value)
  };
  const platform: Platform = {
    kind: 'lab',
    client,
    store,
    trans: TRANS,
    language: 'en',
    markdown: {
      render: (host, source) => {
        host.textContent = source;
        return { ready: Promise.resolve(), dispose: () => undefined };
      }
    },
    memory,
    settings: () => DEFAULT_SETTINGS,
    onSettingsChanged: () => () => undefined,
    confirm: async ask => {
      questions.push(ask);
      return answer.yes;
    },
    copy: async text => void asked.push(['copy', text]),
    openNotebook: note('openNotebook'),
    openReport: note('openReport'),
    openFolder: note('openFolder'),
    openSession: note('openSession'),
    openSettings: note('openSettings')
  };
  return { office, platform, navigation: new Navigation(), asked, questions, answer, kept };
}

/** The children with the desk's platform and navigation. */
export function AtDesk({ at, children }: { at: Desk; children: React.ReactNode }): JSX.Element {
  return (
    <PlatformProvider value={at.platform}>
      <NavigationProvider value={at.navigation}>{children}</NavigationProvider>
    </PlatformProvider>
  );
}
