/** Rooms: where several agents and people talk. The list, one room, or all of them at once. */
import React, { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import type { State } from '../../model';
import { useNavigation } from '../../navigation';
import { useSelected, useTrans } from '../../platform';
import { Banner, Button, Empty } from '../ui';
import { RoomFeed } from './RoomFeed';
import { RoomHint } from './RoomHint';
import { RoomList } from './RoomList';
import { ALL, MAX_TOGETHER, roomId, unread } from './rooms';
import type { Seen } from './rooms';
import { useRoomList, useSeen, useViews } from './useRooms';

/** From this width on (pixels) the list stands beside the messages. */
const WIDE = 640;
const SKELETON_MS = 300;

export function RoomsView({ room }: { room?: string }): JSX.Element {
  const trans = useTrans();
  const navigation = useNavigation();
  const host = useRef<HTMLDivElement>(null);
  const wide = useWide(host);
  const live = useSelected(useMemo(seqsSelector, []));
  const pulse = useMemo(() => Object.values(live.seqs).reduce((sum, seq) => sum + seq, 0), [live]);
  const { rooms, problem, reload } = useRoomList(pulse);
  const [seen, setSeen] = useSeen();
  const [fresh, setFresh] = useState(0);
  const shown =
    room ?? (wide && (rooms?.length ?? 0) > 0 ? (rooms?.length === 1 ? rooms[0]?.room : ALL) : undefined);

  const together = (rooms ?? []).slice(0, MAX_TOGETHER).map(one => one.room);
  const names = useSteady(shown === undefined ? [] : shown === ALL ? together : [shown]);
  const views = useViews(names, fresh);

  // A room that was not there may have been made meanwhile, by somebody else's first message.
  const absent = shown !== undefined && shown !== ALL && views[0]?.loaded === 'gone';
  const made = absent && (rooms ?? []).some(one => one.room === shown);
  useEffect(() => {
    if (made) {
      setFresh(n => n + 1);
    }
  }, [made]);

  const open = useCallback((name: string) => navigation.go({ view: 'rooms', room: name }), [navigation]);
  const seenBefore = useSeenBefore(shown, seen);
  const onSeen = () => {
    const changes: [string, number][] = names.flatMap((name, i) => {
      const last = views[i]?.lastSeq ?? 0;
      return last > 0 && seen[name] !== last ? [[name, last] as [string, number]] : [];
    });
    if (changes.length > 0) {
      setSeen({ ...seen, ...Object.fromEntries(changes) });
    }
  };

  const list = rooms !== null && (
    <RoomList
      rooms={rooms}
      current={shown}
      unreadOf={one => unread(one, live.seqs[one.id] ?? 0, seen)}
      onOpen={open}
    />
  );
  return (
    <div className={wide ? 'jp-Postdoc-Rooms jp-mod-wide' : 'jp-Postdoc-Rooms'} ref={host}>
      {(shown === undefined || wide) && (
        <div className="jp-Postdoc-Rooms-list">
          {problem && (
            <Banner tone="error" role="alert" actions={<Button onClick={reload}>{trans.__('Retry')}</Button>}>
              {trans.__('The rooms could not be loaded: %1', problem.error)}
            </Banner>
          )}
          {rooms === null && problem === null && <Skeleton />}
          {rooms?.length === 0 && shown === undefined && (
            <Empty icon="rooms" title={trans.__('No rooms yet.')}>
              <p>{trans.__('In a room several agents and people talk. It is made by the first message.')}</p>
              <RoomHint room="general" />
            </Empty>
          )}
          {list}
        </div>
      )}
      {shown !== undefined && (
        <RoomFeed
          key={shown}
          room={shown}
          rooms={names}
          views={views}
          seenBefore={seenBefore}
          onBack={wide ? undefined : () => navigation.go({ view: 'rooms' })}
          onOpen={open}
          onSeen={onSeen}
          onSent={() => {
            reload();
            if (absent) {
              setFresh(n => n + 1);
            }
          }}
        />
      )}
    </div>
  );
}

/** Three grey lines, but only when the answer takes long enough to be missed. */
function Skeleton(): JSX.Element | null {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => setLate(true), SKELETON_MS);
    return () => window.clearTimeout(timer);
  }, []);
  return late ? (
    <div className="jp-Postdoc-Rooms-skeleton" aria-hidden="true">
      <span />
      <span />
      <span />
    </div>
  ) : null;
}

interface Live {
  readonly seqs: Readonly<Record<string, number>>;
}

/** The newest message of each room that is or was open: one object as long as nothing has come. */
function seqsSelector(): (state: State) => Live {
  let last: Live = { seqs: {} };
  return state => {
    const found = Object.values(state.views).filter(view => view.id.startsWith(roomId('')));
    const same =
      found.length === Object.keys(last.seqs).length &&
      found.every(view => last.seqs[view.id] === view.lastSeq);
    if (!same) {
      last = { seqs: Object.fromEntries(found.map(view => [view.id, view.lastSeq])) };
    }
    return last;
  };
}

/** The same array as long as it says the same. */
function useSteady(names: readonly string[]): readonly string[] {
  const kept = useRef(names);
  if (kept.current.join('\n') !== names.join('\n')) {
    kept.current = names;
  }
  return kept.current;
}

/** What had been seen of a room when it was opened: the mark stays where it was while one reads. */
function useSeenBefore(room: string | undefined, seen: Seen): number | null {
  const kept = useRef<{ room: string; seq: number | null } | null>(null);
  if (room === undefined) {
    kept.current = null;
  } else if (kept.current?.room !== room) {
    kept.current = { room, seq: seen[room] ?? null };
  }
  return kept.current?.seq ?? null;
}

/** Is there room for two columns? */
function useWide(host: React.RefObject<HTMLElement>): boolean {
  const [wide, setWide] = useState(false);
  useEffect(() => {
    const node = host.current;
    if (node === null) {
      return;
    }
    const observer = new ResizeObserver(() => setWide(node.clientWidth >= WIDE));
    observer.observe(node);
    return () => observer.disconnect();
  }, [host]);
  return wide;
}
