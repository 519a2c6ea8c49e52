/** Stop; pressed again, or after five seconds, it does not wait for the step to end. */
import React, { useEffect, useRef, useState } from 'react';

import type { Status } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { Button } from '../ui';
import { troubleOf } from './trouble';

const FORGET_MS = 5_000;
/** Two clicks within this time are one click of a fast hand. */
const DOUBLE_MS = 500;

interface Props {
  session: string;
  status: Status;
  runId: string | null;
  onTrouble: (text: string | null) => void;
}

export function StopButton({ session, status, runId, onTrouble }: Props): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [asked, setAsked] = useState(false);
  const pressedAt = useRef(-Infinity);
  const stopping = status === 'stopping';
  useEffect(() => setAsked(false), [runId]);
  useEffect(() => {
    if (!asked || stopping) {
      return undefined;
    }
    // What was asked for and never came about can be asked for again.
    const timer = window.setTimeout(() => setAsked(false), FORGET_MS);
    return () => window.clearTimeout(timer);
  }, [asked, stopping]);
  const force = asked || stopping;
  const press = () => {
    if (Date.now() - pressedAt.current < DOUBLE_MS) {
      return;
    }
    pressedAt.current = Date.now();
    onTrouble(null);
    setAsked(true);
    client.stop(session, force ? 'now' : 'graceful').catch((error: unknown) => {
      setAsked(false);
      onTrouble(troubleOf(error));
    });
  };
  return (
    <Button
      kind="warn"
      icon="stop"
      className="jp-Postdoc-Stop"
      title={
        force
          ? trans.__('End it now, in the middle of its step')
          : trans.__('Stop after the current step; what was done is kept')
      }
      onClick={press}
    >
      {force ? trans.__('Force stop') : status === 'queued' ? trans.__('Cancel') : trans.__('Stop')}
    </Button>
  );
}
