/** The timeline in its scrolled frame: it follows the end only when the reader is there. */
import React, { useEffect, useLayoutEffect, useRef, useState } from 'react';

import type { SessionView } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { MOUNTED, Timeline } from '../timeline/Timeline';
import { Button } from '../ui';
import type { Scrolled } from './stick';
import { afterPrepend, atEnd, newSince } from './stick';

interface Props {
  session: SessionView;
  /** What stands above the first item, e.g. the plan. */
  header?: React.ReactNode;
}

export function Scroller({ session, header }: Props): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const before = useRef<Scrolled | null>(null);
  const firstKey = useRef<string | null>(null);
  const [limit, setLimit] = useState(MOUNTED);
  /** The key of the newest item that the reader has seen; null while the end is followed. */
  const [seen, setSeen] = useState<string | null>(null);
  const [problem, setProblem] = useState(false);
  const { items } = session;
  const last = items[items.length - 1]?.key ?? null;
  const hidden = items.length > limit;
  const first = (hidden ? items[items.length - limit] : items[0])?.key ?? null;

  const toEnd = () => {
    const node = box.current;
    if (node !== null) {
      node.scrollTop = node.scrollHeight;
    }
  };

  // Older items came: the reader's place stays where it is.
  useLayoutEffect(() => {
    const node = box.current;
    if (node === null) {
      return;
    }
    if (
      before.current !== null &&
      firstKey.current !== null &&
      first !== firstKey.current &&
      !following.current
    ) {
      node.scrollTop = afterPrepend(before.current, node);
    }
    firstKey.current = first;
    before.current = null;
  }, [first]);

  useLayoutEffect(() => {
    if (following.current) {
      toEnd();
    }
  }, [items]);

  // Pictures and formulas grow after they were put in.
  useEffect(() => {
    const node = inner.current;
    if (node === null) {
      return undefined;
    }
    const watch = new ResizeObserver(() => {
      if (following.current) {
        toEnd();
      }
    });
    watch.observe(node);
    return () => watch.disconnect();
  }, []);

  const onScroll = () => {
    const node = box.current;
    if (node === null) {
      return;
    }
    const end = atEnd(node);
    if (end !== following.current) {
      following.current = end;
      setSeen(end ? null : last);
    }
    if (node.scrollTop < 80 && !end && (hidden || session.hasMore) && !session.loadingEarlier) {
      earlier();
    }
  };

  const earlier = () => {
    const node = box.current;
    before.current =
      node === null
        ? null
        : { scrollTop: node.scrollTop, scrollHeight: node.scrollHeight, clientHeight: node.clientHeight };
    following.current = false;
    setSeen(known => known ?? last);
    setLimit(limit + MOUNTED);
    if (!hidden && session.hasMore) {
      setProblem(false);
      client.loadEarlier(session.id).catch(() => setProblem(true));
    }
  };

  const fresh = newSince(items, seen);
  return (
    <div className="jp-Postdoc-Scroller">
      <div className="jp-Postdoc-Scroller-box" ref={box} onScroll={onScroll} tabIndex={-1}>
        <div ref={inner}>
          {header}
          {(hidden || session.hasMore) && (
            <div className="jp-Postdoc-Earlier">
              <Button kind="link" busy={session.loadingEarlier} onClick={earlier}>
                {trans.__('Load earlier')}
              </Button>
              {problem && <span role="alert">{trans.__('That did not work. Try again.')}</span>}
            </div>
          )}
          <Timeline session={session} limit={limit} />
        </div>
      </div>
      {seen !== null && fresh > 0 && (
        <Button
          className="jp-Postdoc-New"
          icon="down"
          onClick={() => {
            following.current = true;
            setSeen(null);
            toEnd();
          }}
        >
          {trans.__('New activity (%1)', fresh)}
        </Button>
      )}
    </div>
  );
}
