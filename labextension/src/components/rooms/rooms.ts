/** Rooms as data: messages of one or many rooms, filters, and what is new. Pure. */
import type { Room } from '../../client';
import type { Item, SessionView, UserItem } from '../../model';
import type { Trans } from '../../platform';
import type { IconName } from '../ui';

/** In a route: all rooms at once. No room can be called so. */
export const ALL = '*';
/** More rooms than this are not followed at once; the ones with the newest messages are. */
export const MAX_TOGETHER = 20;

/** The kinds a person can choose from; agents may use any word. */
export const KINDS = ['note', 'status', 'question', 'blocker', 'result'] as const;

const KIND_ICONS: Readonly<Record<string, IconName>> = {
  status: 'clock',
  question: 'question',
  blocker: 'warn',
  result: 'check',
  note: 'chat'
};

export function kindIcon(kind: string): IconName {
  return KIND_ICONS[kind] ?? 'info';
}

/** A kind in the user's language; an agent's own word as it is. */
export function kindText(trans: Trans, kind: string): string {
  switch (kind) {
    case 'note':
      return trans.__('Note');
    case 'status':
      return trans.__('Status');
    case 'question':
      return trans.__('Question');
    case 'blocker':
      return trans.__('Blocker');
    case 'result':
      return trans.__('Result');
    default:
      return kind;
  }
}

export interface Message {
  /** Unique among all rooms. */
  readonly key: string;
  readonly room: string;
  readonly seq: number;
  readonly at: number | null;
  readonly agent: string;
  readonly kind: string;
  readonly content: string;
}

export function roomId(room: string): string {
  return `room:${room}`;
}

/** A name the server takes: letters, digits, spaces, `_`, `-`, `.`; at most 59 characters. */
export function legalRoom(name: string): boolean {
  return /^[\p{L}\p{N}_.-][\p{L}\p{N}_ .-]{0,58}$/u.test(name);
}

// A view's list of items is a new object when something in it is new: until then its messages are the same ones.
const known = new WeakMap<readonly Item[], readonly Message[]>();

/** What was said in a room, oldest first. */
export function messagesOf(room: string, view: SessionView | undefined): readonly Message[] {
  if (view === undefined) {
    return NONE;
  }
  const before = known.get(view.items);
  if (before !== undefined) {
    return before;
  }
  const messages = view.items.filter(isMessage).map(item => ({
    key: `${room}\n${item.key}`,
    room,
    seq: item.seq,
    at: item.at,
    agent: item.agent ?? item.by,
    kind: item.messageKind ?? 'note',
    content: item.content
  }));
  known.set(view.items, messages);
  return messages;
}

const NONE: readonly Message[] = [];

function isMessage(item: Item): item is UserItem {
  return item.kind === 'user';
}

/** Several rooms by time; within a room the order of its log holds, whatever the clocks say. */
export function merged(lists: readonly (readonly Message[])[]): readonly Message[] {
  if (lists.length === 1) {
    return lists[0] ?? NONE;
  }
  return lists
    .flatMap((list, at) => list.map(message => ({ message, at })))
    .sort(
      (a, b) =>
        (a.at === b.at
          ? a.message.seq - b.message.seq
          : (a.message.at ?? Infinity) - (b.message.at ?? Infinity)) || a.at - b.at
    )
    .map(one => one.message);
}

/** What is shown; an empty list lets everything through. */
export interface Filters {
  readonly agents: readonly string[];
  readonly kinds: readonly string[];
}

export const NO_FILTERS: Filters = { agents: [], kinds: [] };

export function filtered(messages: readonly Message[], filters: Filters): readonly Message[] {
  const { agents, kinds } = filters;
  return agents.length + kinds.length === 0
    ? messages
    : messages.filter(
        message =>
          (agents.length === 0 || agents.includes(message.agent)) &&
          (kinds.length === 0 || kinds.includes(message.kind))
      );
}

export interface Count {
  readonly value: string;
  readonly count: number;
}

/**
 * The agents and kinds there are, most frequent first. Each is counted among what the other filter lets through, so
 * that a number says how many messages a click would show. What is chosen stays, with 0 if need be.
 */
export function counts(messages: readonly Message[], filters: Filters): { agents: Count[]; kinds: Count[] } {
  return {
    agents: tally(filtered(messages, { ...filters, agents: [] }), messages, 'agent', filters.agents),
    kinds: tally(filtered(messages, { ...filters, kinds: [] }), messages, 'kind', filters.kinds)
  };
}

function tally(
  counted: readonly Message[],
  all: readonly Message[],
  field: 'agent' | 'kind',
  chosen: readonly string[]
): Count[] {
  const found = new Map<string, number>([...all.map(one => one[field]), ...chosen].map(value => [value, 0]));
  for (const message of counted) {
    found.set(message[field], (found.get(message[field]) ?? 0) + 1);
  }
  return [...found]
    .map(([value, count]) => ({ value, count }))
    .sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
}

/** Chosen if it was not, and the other way round. */
export function toggled(values: readonly string[], value: string): readonly string[] {
  return values.includes(value) ? values.filter(one => one !== value) : [...values, value];
}

export function filtersFrom(stored: unknown): Filters {
  const given = (stored ?? {}) as Partial<Record<keyof Filters, unknown>>;
  const texts = (value: unknown) =>
    Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : [];
  return typeof given === 'object' ? { agents: texts(given.agents), kinds: texts(given.kinds) } : NO_FILTERS;
}

/** By room: the last message that was seen. */
export type Seen = Readonly<Record<string, number>>;

export function seenFrom(stored: unknown): Seen {
  return stored !== null && typeof stored === 'object'
    ? Object.fromEntries(Object.entries(stored).filter(([, seq]) => typeof seq === 'number'))
    : {};
}

/** How many messages of a room were not seen; `live`: the last one that came over the socket. */
export function unread(room: Room, live: number, seen: Seen): number {
  const last = Math.max(room.messages, live);
  // A room that was deleted and made again counts from the start.
  const from = seen[room.room] ?? 0;
  return from > last ? last : last - from;
}

/** Rooms with the newest messages first. */
export function byActivity(rooms: readonly Room[]): Room[] {
  return [...rooms].sort((a, b) => (a.last < b.last ? 1 : a.last > b.last ? -1 : a.room < b.room ? -1 : 1));
}

/** What an agent types to say something. It holds no token: where that comes from, the agent knows. */
export function hints(room: string, address: string): { cli: string; curl: string } {
  const quoted = /^[\w.-]+$/.test(room) ? room : `'${room}'`;
  const body = JSON.stringify({ agent: 'my-agent', kind: 'status', content: 'Tests pass.', room });
  return {
    cli: `jupyter postdoc post ${quoted} "Tests pass." --agent my-agent --kind status`,
    curl: `curl -H "Authorization: token $JUPYTER_TOKEN" -d '${body}' ${address}`
  };
}
