/** What a person should know about the connection, once it lasts long enough to matter. */
import React, { useEffect, useState } from 'react';

import type { State } from '../../model';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { CopyCommand, MissingText, Reconnecting } from '../sessions/Missing';
import { Banner, Button } from '../ui';

/** Milliseconds without a socket before anything is said. */
const PATIENCE_MS = 2_000;
/** How long it is said that everything is there again. */
const CAUGHT_UP_MS = 4_000;

/** Events missed by all sessions that have just caught up, and when the last of them did. */
function caughtUpAt(state: State): number {
  return Math.max(0, ...Object.values(state.views).map(view => view.caughtUp?.at ?? 0));
}
function caughtUpEvents(state: State): number {
  return Object.values(state.views).reduce((sum, view) => sum + (view.caughtUp?.events ?? 0), 0);
}

/** `covered`: the list says by itself that there is no server. */
export function ConnectionBanner({ covered }: { covered: boolean }): JSX.Element | null {
  const trans = useTrans();
  const { client } = usePlatform();
  const { state, lostAt, problem } = useSelected(all => all.connection);
  const events = useSelected(caughtUpEvents);
  const caughtUp = usePassing(useSelected(caughtUpAt));
  const lasting = useLasting(lostAt);

  const retry = (text: string) => (
    <Button kind="link" onClick={() => client.retryNow()}>
      {text}
    </Button>
  );
  if (state === 'connected') {
    return caughtUp && events > 0 ? (
      <Banner tone="success">{trans._n('Caught up: %1 event.', 'Caught up: %1 events.', events)}</Banner>
    ) : null;
  }
  if (state === 'expired') {
    return (
      <Banner
        tone="error"
        role="alert"
        actions={
          <Button kind="link" onClick={() => window.location.reload()}>
            {trans.__('Reload')}
          </Button>
        }
      >
        {trans.__('Your Jupyter login expired. Reload the page.')}
      </Banner>
    );
  }
  if (covered) {
    return null;
  }
  if (state === 'missing') {
    return (
      <Banner
        tone="warn"
        role="alert"
        actions={
          <>
            <CopyCommand />
            {retry(trans.__('Retry'))}
          </>
        }
      >
        <MissingText />
      </Banner>
    );
  }
  if (!lasting) {
    return null;
  }
  return (
    <Banner tone="warn" actions={retry(trans.__('Now'))}>
      {state === 'offline'
        ? trans.__('You are offline. The agent keeps working on the server.')
        : problem !== null
          ? trans.__('Connection lost. %1', `${problem.error} ${problem.next}`.trim())
          : trans.__('Connection lost. The agent keeps working on the server.')}{' '}
      <Reconnecting />
    </Banner>
  );
}

/** Whether the connection has been gone for long enough to say so. */
function useLasting(lostAt: number | null): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    if (lostAt === null) {
      setLasting(false);
      return;
    }
    const left = lostAt + PATIENCE_MS - Date.now();
    setLasting(left <= 0);
    if (left > 0) {
      const timer = window.setTimeout(() => setLasting(true), left);
      return () => window.clearTimeout(timer);
    }
    return;
  }, [lostAt]);
  return lostAt !== null && lasting;
}

/** True for a while after `at` (0: never). */
function usePassing(at: number): boolean {
  const [over, setOver] = useState(0);
  useEffect(() => {
    if (at === 0) {
      return;
    }
    const timer = window.setTimeout(() => setOver(at), Math.max(0, at + CAUGHT_UP_MS - Date.now()));
    return () => window.clearTimeout(timer);
  }, [at]);
  return at !== 0 && over !== at;
}
