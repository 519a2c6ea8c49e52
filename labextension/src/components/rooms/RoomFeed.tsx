/** What is said in one room, or in all of them, as it comes in. */
import React, { useMemo, useState } from 'react';

import type { SessionView } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { Banner, Button, Empty, IconButton } from '../ui';
import { RoomComposer } from './RoomComposer';
import { RoomFilters } from './RoomFilters';
import { RoomHint } from './RoomHint';
import { RoomMessage } from './RoomMessage';
import { ALL, counts, filtered, merged, messagesOf, roomId } from './rooms';
import { useFilters } from './useRooms';
import { useStick } from './useStick';

/** So many of the newest messages are mounted at first; "Load earlier" adds as many. */
const STEP = 200;

interface RoomFeedProps {
  room: string;
  /** The rooms it is made of, and what is known of them. */
  rooms: readonly string[];
  views: readonly (SessionView | undefined)[];
  /** Messages of the room after this one are new to the user; null: no mark. */
  seenBefore: number | null;
  /** Absent when the list stands beside. */
  onBack?: () => void;
  onOpen: (room: string) => void;
  /** The newest messages are on the screen. */
  onSeen: () => void;
  onSent: () => void;
}

export function RoomFeed(props: RoomFeedProps): JSX.Element {
  const { room, rooms, views, seenBefore, onBack, onOpen, onSeen, onSent } = props;
  const { client } = usePlatform();
  const trans = useTrans();
  const [filters, setFilters] = useFilters();
  const [filtering, setFiltering] = useState(false);
  const [limit, setLimit] = useState(STEP);
  const everything = useMemo(
    () => merged(rooms.map((name, i) => messagesOf(name, views[i]))),
    [rooms, views]
  );
  const wanted = useMemo(() => filtered(everything, filters), [everything, filters]);
  const shown = useMemo(() => wanted.slice(-limit), [wanted, limit]);
  const active = filters.agents.length + filters.kinds.length;
  const scroll = useStick(shown, everything.at(-1)?.key, onSeen);

  const more = views.flatMap((view, i) => (view?.hasMore ? [rooms[i] ?? ''] : []));
  const loading = views.some(view => view?.loadingEarlier);
  const waiting = views.some(view => view === undefined || view.loaded === 'no' || view.loaded === 'loading');
  const failed = views.find(view => view?.loaded === 'failed')?.problem;
  const earlier = () => {
    setLimit(n => n + STEP);
    if (wanted.length <= limit) {
      more.forEach(name => void client.loadEarlier(roomId(name)).catch(() => undefined));
    }
  };
  // The mark stands before the first message that is new; above everything it would say nothing.
  const firstNew = seenBefore === null || room === ALL ? -1 : shown.findIndex(one => one.seq > seenBefore);

  return (
    <section
      className="jp-Postdoc-RoomFeed"
      aria-label={room === ALL ? trans.__('All rooms') : trans.__('Room %1', room)}
    >
      <header className="jp-Postdoc-RoomFeed-head">
        {onBack && <IconButton icon="back" label={trans.__('All rooms and new ones')} onClick={onBack} />}
        <h2>{room === ALL ? trans.__('All rooms') : room}</h2>
        {active > 0 && (
          <span className="jp-Postdoc-RoomFeed-share">
            {trans.__('%1 of %2', wanted.length, everything.length)}
          </span>
        )}
        <IconButton
          icon="filter"
          label={active > 0 ? trans.__('Filter (%1 chosen)', active) : trans.__('Filter')}
          pressed={filtering || active > 0}
          aria-expanded={filtering}
          onClick={() => setFiltering(!filtering)}
        />
      </header>
      {filtering && (
        <RoomFilters filters={filters} counts={counts(everything, filters)} onChange={setFilters} />
      )}
      {failed && (
        <Banner tone="error" role="alert">
          {failed.error} {failed.next}
        </Banner>
      )}
      <div className="jp-Postdoc-RoomFeed-outer">
        <div
          className="jp-Postdoc-RoomFeed-scroll"
          ref={scroll.host}
          onScroll={scroll.onScroll}
          role="log"
          aria-live="off"
          aria-label={trans.__('Messages')}
          tabIndex={0}
        >
          {(wanted.length > limit || more.length > 0) && (
            <Button kind="link" busy={loading} onClick={earlier}>
              {trans.__('Load earlier')}
            </Button>
          )}
          {shown.map((message, i) => (
            <React.Fragment key={message.key}>
              {i === firstNew && i > 0 && (
                <div className="jp-Postdoc-RoomFeed-mark">
                  <span>{trans.__('New')}</span>
                </div>
              )}
              <RoomMessage message={message} withRoom={room === ALL} onOpen={onOpen} />
            </React.Fragment>
          ))}
          {everything.length === 0 && !waiting && room !== ALL && (
            <Empty icon="chat" title={trans.__('Nothing has been said here yet.')}>
              <RoomHint room={room} />
            </Empty>
          )}
          {everything.length > 0 && wanted.length === 0 && (
            <Empty
              icon="filter"
              title={trans.__('No message fits the filter.')}
              actions={
                <Button onClick={() => setFilters({ agents: [], kinds: [] })}>{trans.__('Show all')}</Button>
              }
            />
          )}
        </div>
        {scroll.fresh > 0 && (
          <button type="button" className="jp-Postdoc-RoomFeed-pill" onClick={scroll.toBottom}>
            {trans._n('↓ New messages (%1)', '↓ New messages (%1)', scroll.fresh)}
          </button>
        )}
      </div>
      <RoomComposer
        rooms={rooms}
        onSent={() => {
          scroll.toBottom();
          onSent();
        }}
      />
    </section>
  );
}
