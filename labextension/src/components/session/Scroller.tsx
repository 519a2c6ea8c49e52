/** The timeline in its scrolled frame: it follows the end only when the reader is there. */
import React, { forwardRef, useEffect, useImperativeHandle, useMemo, useRef, useState } from 'react';
import { flushSync } from 'react-dom';

import type { SessionView } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { MOUNTED, Timeline } from '../timeline/Timeline';
import { Button, IconButton } from '../ui';
import { newSince } from './stick';
import { troubleOf } from './trouble';
import { usePlace } from './usePlace';

export interface ScrollerHandle {
  /** Show the card of a request and put the focus into it; false when its events were never loaded. */
  reveal(requestId: string): boolean;
}

interface Props {
  session: SessionView;
}

export const Scroller = forwardRef<ScrollerHandle, Props>(function Scroller({ session: whole }, ref) {
  const session = useWithoutWaiting(whole);
  const { client } = usePlatform();
  const trans = useTrans();
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const [limit, setLimit] = useState(MOUNTED);
  /** The key of the newest item that the reader has seen; null while the end is followed. */
  const [seen, setSeen] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const { items } = session;
  const newest = items[items.length - 1];
  const fresh = newSince(items, seen);
  // While somebody reads further up, nothing is taken away at the top because something came at the end.
  const shown = limit + fresh;
  const hidden = items.length > shown;

  const earlier = () => {
    if (session.loadingEarlier || (!hidden && !session.hasMore)) {
      return;
    }
    setLimit(limit + MOUNTED);
    if (!hidden) {
      setProblem(null);
      client.loadEarlier(session.id).catch((error: unknown) => setProblem(troubleOf(error)));
    }
  };

  const place = usePlace(box, inner, items, earlier);
  const { following, toEnd } = place;
  const newestKey = newest?.key ?? null;
  const last = useRef(newestKey);
  useEffect(() => {
    last.current = newestKey;
  }, [newestKey]);
  useEffect(() => setSeen(following ? null : last.current), [following]);

  // Who says something wants to see that it was said.
  const mine = newest?.kind === 'user' && newest.sending === 'pending' ? newest.key : null;
  useEffect(() => {
    if (mine !== null) {
      toEnd();
    }
  }, [mine, toEnd]);

  useImperativeHandle(ref, () => ({
    reveal: requestId => {
      const find = () =>
        Array.from(box.current?.querySelectorAll<HTMLElement>('[data-request]') ?? []).find(
          one => one.dataset.request === requestId
        );
      if (find() === undefined) {
        flushSync(() => setLimit(items.length));
      }
      const card = find();
      card?.scrollIntoView({ block: 'nearest' });
      (card?.querySelector<HTMLElement>('button:not(:disabled), input, textarea') ?? card)?.focus({
        preventScroll: true
      });
      return card !== undefined;
    }
  }));

  return (
    <div className="jp-Postdoc-Scroller">
      <div
        className="jp-Postdoc-Scroller-box"
        ref={box}
        role="group"
        aria-label={trans.__('Timeline')}
        tabIndex={0}
        onScroll={place.onScroll}
        onClickCapture={place.onClickCapture}
      >
        <div ref={inner}>
          {(hidden || session.hasMore) && (
            <div className="jp-Postdoc-Earlier">
              <Button kind="link" busy={session.loadingEarlier} onClick={earlier}>
                {session.loadingEarlier ? trans.__('Loading earlier…') : trans.__('Load earlier')}
              </Button>
              {problem !== null && <span role="alert">{problem}</span>}
            </div>
          )}
          <Timeline session={session} limit={shown} />
        </div>
      </div>
      {!following &&
        (fresh > 0 ? (
          <Button className="jp-Postdoc-New" icon="down" onClick={toEnd}>
            {trans.__('New activity (%1)', fresh)}
          </Button>
        ) : (
          <IconButton className="jp-Postdoc-New" icon="down" label={trans.__('To the end')} onClick={toEnd} />
        ))}
    </div>
  );
});

/**
 * The session without the messages that wait their turn: while another is at work, the composer shows them, where they
 * can be changed. The only message there is stays in the timeline.
 */
function useWithoutWaiting(session: SessionView): SessionView {
  const { items, queue, status } = session;
  const shown = useMemo(() => {
    const waiting = new Set(status === 'queued' ? [] : queue.map(one => one.id));
    return waiting.size === 0 ? items : items.filter(item => !(item.kind === 'user' && waiting.has(item.id)));
  }, [items, queue, status]);
  return shown === items ? session : { ...session, items: shown };
}
