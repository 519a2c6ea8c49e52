/** Keeps a view's notebook up to date: by the session's events, and by asking while it can be seen. */
import type { RefObject } from 'react';
import { useEffect, useRef, useState, useSyncExternalStore } from 'react';

import { usePlatform, useSelected } from '../../platform';
import { useVisible } from '../frame/hooks';
import type { Shown } from './desk';
import { NotebookDesk } from './desk';

/** Between two looks at the state of the kernel, which no event tells; milliseconds. */
const LOOK_MS = 3_000;

export interface UseNotebook extends Shown {
  readonly desk: NotebookDesk;
}

/** The notebook of the session, opened when `host` is first seen. */
export function useNotebook(session: string, host: RefObject<HTMLElement>): UseNotebook {
  const { client } = usePlatform();
  const [desk] = useState(() => new NotebookDesk(client, session));
  const shown = useSyncExternalStore(desk.subscribe, desk.get);
  const visible = useVisible(host);
  const online = useSelected(state => state.connection.state === 'connected');
  // What may have changed something: who has it, whether a run is at work, a notebook that was made.
  const event = useSelected(state => state.views[session]?.notebook ?? null);
  const hand = useSelected(state => state.sessions?.[session]?.notebook ?? null);
  const work = useSelected(state => state.views[session]?.status ?? null);
  const made = useSelected(state => state.views[session]?.artifacts.notebook ?? null);
  const begun = useRef(false);
  const lost = useRef(false);

  useEffect(() => client.open(session), [client, session]);

  useEffect(() => {
    if (!visible || !online) {
      lost.current = begun.current;
      return undefined;
    }
    if (!begun.current) {
      begun.current = true;
      void desk.open();
    } else if (lost.current) {
      void desk.verify();
    }
    lost.current = false;
    const timer = window.setInterval(() => void desk.refresh(), LOOK_MS);
    return () => window.clearInterval(timer);
  }, [desk, visible, online]);

  useEffect(() => {
    if (!begun.current) {
      return;
    }
    if (desk.get().page.at === 'absent' && made !== null) {
      void desk.open();
    } else {
      void desk.refresh();
    }
  }, [desk, event, hand, work, made]);

  return { ...shown, desk };
}
