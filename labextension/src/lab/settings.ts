/** The user's settings: read from JupyterLab's registry, always complete, always valid. */
import type { Settings } from '../platform';
import { DEFAULT_SETTINGS } from '../platform';

/** The panel's settings, and those that only JupyterLab has. */
export interface LabSettings extends Settings {
  /** Which sidebar the panel is in. */
  readonly side: 'left' | 'right';
}

export const LAB_DEFAULTS: LabSettings = { ...DEFAULT_SETTINGS, side: 'left' };

type Raw = Readonly<Record<string, unknown>>;

/**
 * Settings from what the registry gives. A value of a wrong type or outside of its range counts as not given: the
 * settings file is edited by hand too.
 */
export function parseSettings(raw: Raw): LabSettings {
  return {
    side: oneOf(raw, 'side', ['left', 'right']),
    defaultModel: text(raw, 'defaultModel'),
    defaultPersona: text(raw, 'defaultPersona'),
    defaultTemplate: text(raw, 'defaultTemplate'),
    maxCostUsd: number(raw, 'maxCostUsd', 0, 10_000),
    maxMinutes: number(raw, 'maxMinutes', 0, 10_080),
    sendWithShiftEnter: flag(raw, 'sendWithShiftEnter'),
    showThinking: oneOf(raw, 'showThinking', ['collapsed', 'live', 'hidden']),
    foldToolCalls: flag(raw, 'foldToolCalls'),
    notifyOn: some(raw, 'notifyOn', ['finished', 'error', 'waiting']),
    browserNotifications: flag(raw, 'browserNotifications'),
    autoOpenNotebook: flag(raw, 'autoOpenNotebook'),
    streamFlushMs: number(raw, 'streamFlushMs', 16, 2000)
  };
}

function text(raw: Raw, key: 'defaultModel' | 'defaultPersona' | 'defaultTemplate'): string {
  const value = raw[key];
  return typeof value === 'string' ? value.trim() : LAB_DEFAULTS[key];
}

function number(
  raw: Raw,
  key: 'maxCostUsd' | 'maxMinutes' | 'streamFlushMs',
  min: number,
  max: number
): number {
  const value = raw[key];
  return typeof value === 'number' && value >= min && value <= max ? value : LAB_DEFAULTS[key];
}

function flag(
  raw: Raw,
  key: 'sendWithShiftEnter' | 'foldToolCalls' | 'browserNotifications' | 'autoOpenNotebook'
): boolean {
  const value = raw[key];
  return typeof value === 'boolean' ? value : LAB_DEFAULTS[key];
}

function oneOf<K extends 'side' | 'showThinking'>(
  raw: Raw,
  key: K,
  values: readonly LabSettings[K][]
): LabSettings[K] {
  return values.find(value => value === raw[key]) ?? LAB_DEFAULTS[key];
}

function some(raw: Raw, key: 'notifyOn', values: Settings['notifyOn']): Settings['notifyOn'] {
  const given = raw[key];
  return Array.isArray(given) ? values.filter(value => given.includes(value)) : LAB_DEFAULTS[key];
}

/** The settings as they are now, and who wants to know when they change. */
export class LiveSettings {
  private current: LabSettings = LAB_DEFAULTS;
  private readonly listeners = new Set<() => void>();

  get = (): LabSettings => this.current;

  /** Take over what the registry has now. */
  update(raw: Raw): void {
    this.current = parseSettings(raw);
    this.listeners.forEach(listener => listener());
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };
}
