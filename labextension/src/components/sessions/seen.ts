/**
 * Which sessions have come to an end since the user last looked at them. Remembered per browser or workspace: the
 * newest event seen of each session, and since when that is kept, so that an old list is not all unread at first.
 */
import { useEffect, useSyncExternalStore } from 'react';

import type { ChatInfo } from '../../model';
import { usePlatform } from '../../platform';
import type { Memory } from '../../platform';
import { statusOf } from '../../store/status';
import { recordOf } from '../../store/parts';

const KEY = 'seen';
const WRITE_MS = 1_000;
/** Sessions that are remembered; older ones count as seen up to the oldest that is. */
const KEPT = 500;

/** What was seen. `since` is milliseconds since 1970; `seqs` the newest event seen, by session. */
export interface SeenState {
  readonly since: number;
  readonly seqs: Readonly<Record<string, number>>;
}

/** Whether a session came to rest after it was last looked at. */
export function isUnread(info: ChatInfo, seen: SeenState | null): boolean {
  const status = statusOf(info.state);
  const atRest = status === 'finished' || status === 'error' || status === 'interrupted';
  return (
    seen !== null &&
    atRest &&
    info.reason !== 'idle' &&
    Date.parse(info.updatedAt) > seen.since &&
    info.lastSeq > (seen.seqs[info.id] ?? 0)
  );
}

/** What was seen, shared by all panels of one page. */
export class Seen {
  private state: SeenState | null = null;
  private listeners = new Set<() => void>();
  private early = new Map<string, number>();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(private readonly memory: Memory) {
    void memory
      .get(KEY)
      .catch(() => undefined)
      .then(value => this.read(value));
  }

  get = (): SeenState | null => this.state;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };

  /** The user has this session before their eyes, up to this event. */
  mark(id: string, seq: number): void {
    if (this.state === null) {
      this.early.set(id, seq);
    } else if (seq > (this.state.seqs[id] ?? 0)) {
      // The newest at the end: the oldest are forgotten first.
      const { [id]: _, ...others } = this.state.seqs;
      this.change({ ...this.state, seqs: { ...others, [id]: seq } });
    }
  }

  private read(value: unknown): void {
    const stored = recordOf(value);
    const seqs: Record<string, number> = {};
    for (const [id, seq] of Object.entries(recordOf(stored.seqs))) {
      if (typeof seq === 'number') {
        seqs[id] = seq;
      }
    }
    const known = typeof stored.since === 'number';
    this.state = { since: known ? (stored.since as number) : Date.now(), seqs };
    this.early.forEach((seq, id) => this.mark(id, seq));
    this.early.clear();
    if (!known) {
      this.change(this.state);
    }
    this.listeners.forEach(listener => listener());
  }

  private change(state: SeenState): void {
    const entries = Object.entries(state.seqs);
    this.state = entries.length > KEPT ? { ...state, seqs: Object.fromEntries(entries.slice(-KEPT)) } : state;
    this.listeners.forEach(listener => listener());
    // A session at work has a new event several times a second; the memory may be on the server.
    this.timer ??= setTimeout(() => {
      this.timer = null;
      void this.memory.set(KEY, this.state).catch(() => undefined);
    }, WRITE_MS);
  }
}

const known = new WeakMap<Memory, Seen>();

/** The one record of what was seen that belongs to this memory. */
export function seenOf(memory: Memory): Seen {
  let seen = known.get(memory);
  if (seen === undefined) {
    seen = new Seen(memory);
    known.set(memory, seen);
  }
  return seen;
}

/** What was seen; null until it is known. */
export function useSeen(): SeenState | null {
  const seen = seenOf(usePlatform().memory);
  return useSyncExternalStore(seen.subscribe, seen.get);
}

/** Counts a session as seen while it is before the user's eyes; `id` null: none is. */
export function useMarkSeen(id: string | null, lastSeq: number): void {
  const { memory } = usePlatform();
  useEffect(() => {
    if (id !== null && lastSeq > 0) {
      seenOf(memory).mark(id, lastSeq);
    }
  }, [memory, id, lastSeq]);
}
