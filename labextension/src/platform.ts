/**
 * What the components need of the place they run in: JupyterLab, Notebook 7, or the plain page. A capability that a
 * place does not have is undefined, and no button is shown for it.
 */
import { createContext, useContext, useSyncExternalStore } from 'react';

import type { Client } from './client';
import type { State } from './model';
import type { Store } from './store';

/** The part of JupyterLab's TranslationBundle that is used; `%1` … stand for the arguments. */
export interface Trans {
  __(message: string, ...args: unknown[]): string;
  _n(singular: string, plural: string, n: number, ...args: unknown[]): string;
}

/** Text from an agent, a tool or a file, shown as markdown. It is hostile until it has gone through here. */
export interface Markdown {
  /**
   * Show `source` in `host` (whose content is replaced when it is ready). Sanitised; no command links; an image from
   * another address becomes a button that loads it. Call `dispose` when the host goes away.
   */
  render(
    host: HTMLElement,
    source: string,
    activation: Activation
  ): { ready: Promise<void>; dispose(): void };
}

/** What shown markdown can do when it is clicked. */
export interface Activation {
  /** E.g. "Load image from %1". */
  loadImage: (host: string) => string;
  /** What a path of the project does; without it, such a link is plain text. */
  openPath?: (path: string) => void;
}

/** What the user has chosen (the settings of JupyterLab; defaults in the page). */
export interface Settings {
  readonly defaultModel: string;
  readonly defaultPersona: string;
  readonly defaultTemplate: string;
  /** US dollars, minutes; 0: the server's own limit. */
  readonly maxCostUsd: number;
  readonly maxMinutes: number;
  readonly sendWithShiftEnter: boolean;
  readonly showThinking: 'collapsed' | 'live' | 'hidden';
  readonly foldToolCalls: boolean;
  readonly notifyOn: readonly ('finished' | 'error' | 'waiting')[];
  readonly browserNotifications: boolean;
  readonly autoOpenNotebook: boolean;
  /** Milliseconds between two renderings of streamed text. */
  readonly streamFlushMs: number;
}

export const DEFAULT_SETTINGS: Settings = {
  defaultModel: '',
  defaultPersona: '',
  defaultTemplate: '',
  maxCostUsd: 5,
  maxMinutes: 60,
  sendWithShiftEnter: false,
  showThinking: 'collapsed',
  foldToolCalls: true,
  notifyOn: ['finished', 'error', 'waiting'],
  browserNotifications: false,
  autoOpenNotebook: false,
  streamFlushMs: 100
};

/** Small things remembered in this browser or workspace: drafts, what was seen, the open session. */
export interface Memory {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<void>;
}

/** Asks the user; resolves to false when they decline. */
export interface Ask {
  title: string;
  body: string;
  accept: string;
  dangerous?: boolean;
}

export interface Platform {
  readonly kind: 'lab' | 'page';
  readonly client: Client;
  readonly store: Store;
  readonly trans: Trans;
  /** BCP 47, for dates and numbers. */
  readonly language: string;
  readonly markdown: Markdown;
  readonly memory: Memory;
  settings(): Settings;
  onSettingsChanged(listener: () => void): () => void;
  confirm(ask: Ask): Promise<boolean>;
  /** Put text on the clipboard. */
  copy(text: string): Promise<void>;
  /** Paths are relative to the server's root; `cell` is a marimo cell name. */
  openNotebook?(path: string, cell?: string): void;
  openFile?(path: string): void;
  openReport?(session: string, title: string): void;
  /** The folder in the file browser. */
  openFolder?(path: string): void;
  /** The session in a place of its own (a tab of the main area). */
  openSession?(session: string): void;
  openSettings?(): void;
  /** A path below the server's root, or null when the user cancelled. */
  pickFile?(title: string): Promise<string | null>;
  /** Put code into the notebook that has the focus; absent when there is none. */
  insertCode?(code: string): void;
  /** The chosen text or the path of what the user is working on, to be given to an agent. */
  context?(): { label: string; text: string } | null;
}

const Context = createContext<Platform | null>(null);

/** Gives the components their platform. */
export const PlatformProvider = Context.Provider;

/** The platform; throws outside of a provider. */
export function usePlatform(): Platform {
  const platform = useContext(Context);
  if (platform === null) {
    throw new Error('No platform: wrap the component in <PlatformProvider>.');
  }
  return platform;
}

/** The translation. */
export function useTrans(): Trans {
  return usePlatform().trans;
}

/** A part of the state. `select` must give the same object for the same state; the component renders when it differs. */
export function useSelected<T>(select: (state: State) => T): T {
  const { store } = usePlatform();
  return useSyncExternalStore(store.subscribe, () => select(store.getState()));
}

/** The settings, kept up to date. */
export function useSettings(): Settings {
  const platform = usePlatform();
  return useSyncExternalStore(platform.onSettingsChanged, platform.settings);
}
