/** What the user has entered into the form. It outlives the form until the research has been started. */
import type { Settings } from '../../platform';
import type { Raw } from './schema';

export interface ContextPart {
  readonly label: string;
  readonly text: string;
}

/** An entry that is missing was not touched: settings and server decide. */
export interface Draft {
  readonly topic: string;
  /** '': the server chooses by the topic. */
  readonly template?: string;
  /** By template, so that looking at another one loses nothing. */
  readonly params: Readonly<Record<string, Raw>>;
  readonly model?: string;
  readonly persona?: string;
  readonly repo?: string;
  /** The id of a registered repository to work in; '': a new one. */
  readonly repository?: string;
  readonly usd?: string;
  readonly minutes?: string;
  readonly turns?: string;
  readonly context: readonly ContextPart[];
  /** Are the options unfolded? */
  readonly open: boolean;
  /** Makes a second sending harmless, after a reload too. */
  readonly key: string;
}

export const DRAFT_KEY = 'new-research';

export function emptyDraft(): Draft {
  return { topic: '', params: {}, context: [], open: false, key: newKey() };
}

/** 128 random bits. Not `crypto.randomUUID`: that is missing where Jupyter is reached over plain http. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte =>
    byte.toString(16).padStart(2, '0')
  ).join('');
}

/** A stored draft, as far as it is one. */
export function draftFrom(stored: unknown): Draft | null {
  if (stored === null || typeof stored !== 'object') {
    return null;
  }
  const given = stored as Partial<Record<keyof Draft, unknown>>;
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  const context = Array.isArray(given.context) ? (given.context as unknown[]) : [];
  const params = given.params !== null && typeof given.params === 'object' ? given.params : {};
  const optional = (
    ['template', 'model', 'persona', 'repo', 'repository', 'usd', 'minutes', 'turns'] as const
  ).flatMap(name => (text(given[name]) === undefined ? [] : [[name, given[name]]]));
  return {
    topic: text(given.topic) ?? '',
    params: params as Draft['params'],
    context: context.filter(isContext),
    open: given.open === true,
    key: text(given.key) || newKey(),
    ...(Object.fromEntries(optional) as Partial<Draft>)
  };
}

function isContext(value: unknown): value is ContextPart {
  const part = value as Partial<ContextPart> | null;
  return (
    part !== null &&
    typeof part === 'object' &&
    typeof part.label === 'string' &&
    typeof part.text === 'string'
  );
}

/** Context added to what is there; the same text is not taken twice. */
export function withContext(
  context: readonly ContextPart[],
  more: readonly ContextPart[]
): readonly ContextPart[] {
  const fresh = more.filter(part => !context.some(known => known.text === part.text));
  return fresh.length > 0 ? [...context, ...fresh] : context;
}

/** Is there something in it that a person would miss? */
export function worthKeeping(draft: Draft): boolean {
  return draft.topic.trim() !== '' || draft.context.length > 0;
}

/** The limits as they stand: what was entered, else the settings'. '' and '0': the server's own. */
export function limitsOf(draft: Draft, settings: Settings): { usd: string; minutes: string; turns: string } {
  const number = (value: number) => (value > 0 ? String(value) : '');
  return {
    usd: draft.usd ?? number(settings.maxCostUsd),
    minutes: draft.minutes ?? number(settings.maxMinutes),
    turns: draft.turns ?? ''
  };
}
