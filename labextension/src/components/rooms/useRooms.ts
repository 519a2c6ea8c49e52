/** The rooms there are, and what is said in those that are shown. */
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import type { Room } from '../../client';
import type { Problem, SessionView, State } from '../../model';
import { usePlatform, useSelected } from '../../platform';
import { problemFrom } from '../form/problems';
import type { Filters, Seen } from './rooms';
import { NO_FILTERS, byActivity, filtersFrom, roomId, seenFrom } from './rooms';

/** Other rooms than those that are open send no frames: their numbers are asked for this often, while shown. */
const REFRESH_MS = 15_000;
/** After a frame: one request for a burst. */
const SETTLE_MS = 1_000;

export interface RoomList {
  /** Null until the server has answered. */
  readonly rooms: readonly Room[] | null;
  readonly problem: Problem | null;
  readonly reload: () => void;
}

/** `pulse` changes with every message that comes in. */
export function useRoomList(pulse: number): RoomList {
  const { client, trans } = usePlatform();
  const online = useSelected(state => state.connection.state === 'connected');
  const [rooms, setRooms] = useState<readonly Room[] | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const here = useRef(true);
  const first = useRef(true);

  const reload = useCallback(() => {
    client.rooms().then(
      found => {
        if (here.current) {
          setRooms(byActivity(found));
          setProblem(null);
        }
      },
      reason => here.current && setProblem(problemFrom(reason, trans))
    );
  }, [client, trans]);

  useEffect(() => {
    here.current = true;
    reload();
    const timer = window.setInterval(() => {
      if (document.visibilityState !== 'hidden') {
        reload();
      }
    }, REFRESH_MS);
    return () => {
      here.current = false;
      window.clearInterval(timer);
    };
  }, [reload, online]);

  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    const timer = window.setTimeout(reload, SETTLE_MS);
    return () => window.clearTimeout(timer);
  }, [pulse, reload]);

  return { rooms, problem, reload };
}

/** Follow these rooms while the view is shown. `fresh` changes when a room that did not exist may be there now. */
export function useViews(rooms: readonly string[], fresh: number): readonly (SessionView | undefined)[] {
  const { client } = usePlatform();
  const joined = rooms.join('\n');
  useEffect(() => {
    const close = joined === '' ? [] : joined.split('\n').map(room => client.open(roomId(room)));
    return () => close.forEach(one => one());
  }, [client, joined, fresh]);

  const select = useMemo(() => {
    const ids = joined === '' ? [] : joined.split('\n').map(roomId);
    let last: readonly (SessionView | undefined)[] = [];
    return (state: State) => {
      const next = ids.map(id => state.views[id]);
      if (next.length !== last.length || next.some((view, i) => view !== last[i])) {
        last = next;
      }
      return last;
    };
  }, [joined]);
  return useSelected(select);
}

/**
 * A value that this browser remembers. `merge` says what holds when it was changed before what is stored had been read.
 */
function useRemembered<T>(
  key: string,
  blank: T,
  merge: (stored: unknown, changed: T | null) => T
): [T, (value: T) => void] {
  const { memory } = usePlatform();
  const [value, setValue] = useState<T>(blank);
  const changed = useRef<T | null>(null);
  const keep = useCallback(
    (next: T) => {
      setValue(next);
      void memory.set(key, next).catch(() => undefined);
    },
    [memory, key]
  );
  useEffect(() => {
    let here = true;
    void memory.get(key).then(
      stored => {
        if (here && stored !== undefined && stored !== null) {
          const next = merge(stored, changed.current);
          (changed.current === null ? setValue : keep)(next);
        }
      },
      () => undefined // nothing is remembered
    );
    return () => {
      here = false;
    };
  }, [memory, key, merge, keep]);
  const remember = useCallback(
    (next: T) => {
      changed.current = next;
      keep(next);
    },
    [keep]
  );
  return [value, remember];
}

const mergeFilters = (stored: unknown, changed: Filters | null) => changed ?? filtersFrom(stored);
const mergeSeen = (stored: unknown, changed: Seen | null) => ({ ...seenFrom(stored), ...changed });
const NOTHING_SEEN: Seen = {};

export function useFilters(): [Filters, (filters: Filters) => void] {
  return useRemembered('rooms.filters', NO_FILTERS, mergeFilters);
}

export function useSeen(): [Seen, (seen: Seen) => void] {
  return useRemembered('rooms.seen', NOTHING_SEEN, mergeSeen);
}
