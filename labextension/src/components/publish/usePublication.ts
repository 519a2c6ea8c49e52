/** What the card knows of a session's publication, and what it can do. */
import { useCallback, useEffect, useRef, useState } from 'react';

import type { Publishable, PublishOptions } from '../../client';
import type { Publication, SessionView } from '../../model';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { recordOf, textIn } from '../../store/parts';
import { troubleOf } from '../session/trouble';
import { useGitHub } from './github';

export interface PublicationState {
  readonly publication: Publication | null;
  /** Of one that was never published; null: not known, or it was. */
  readonly publishable: Publishable | null;
  /** Whether GitHub is connected; null: not known yet. */
  readonly connected: boolean | null;
  /** The name of the repository on this machine; "" when there is none. */
  readonly name: string;
  readonly busy: boolean;
  /** A request that failed, in words. */
  readonly trouble: string | null;
  readonly note: string | null;
  publish(options?: PublishOptions): void;
  refresh(): void;
}

const NO_PROJECT = {};

export function usePublication(session: string): PublicationState {
  const { client } = usePlatform();
  const trans = useTrans();
  const publication = useSelected(state => state.views[session]?.publication ?? null);
  const project = useSelected(state => state.sessions?.[session]?.project ?? NO_PROJECT);
  const folder = useSelected(state => state.views[session]?.artifacts.repo?.path ?? '');
  const online = useSelected(state => state.connection.state === 'connected');
  const ends = useSelected(state => countEnds(state.views[session]));
  const [publishable, setPublishable] = useState<Publishable | null>(null);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [note, setNote] = useState<string | null>(null);
  const { status } = useGitHub();
  const alive = useRef(true);
  const never = publication === null;

  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);

  useEffect(() => {
    if (!never || !online) {
      return undefined;
    }
    let here = true;
    client.publishable(session).then(
      answer => here && setPublishable(answer),
      () => here && setPublishable(null) // a server that publishes nothing: nothing is offered
    );
    return () => {
      here = false;
    };
    // Each run that has ended may have made something that can be published.
  }, [client, session, never, online, ends]);

  const attempt = useCallback((work: () => Promise<string | null>) => {
    setBusy(true);
    setTrouble(null);
    setNote(null);
    work()
      .then(
        said => alive.current && setNote(said),
        (error: unknown) => alive.current && setTrouble(troubleOf(error))
      )
      .finally(() => alive.current && setBusy(false));
  }, []);

  const state = publication?.state;
  useEffect(() => setNote(null), [state]);

  return {
    publication,
    publishable,
    connected: status?.connected ?? publishable?.connected ?? null,
    name: textIn(recordOf(project), 'repo') || (folder.split('/').filter(Boolean).pop() ?? ''),
    busy,
    trouble,
    note,
    publish: useCallback(
      (options: PublishOptions = {}) =>
        attempt(async () => {
          const ack = await client.publish(session, options);
          return ack.queued ? trans.__('It begins when the current work is done.') : null;
        }),
      [attempt, client, session, trans]
    ),
    refresh: useCallback(
      () =>
        attempt(async () => {
          await client.refreshPublication(session);
          return trans.__('Up to date.');
        }),
      [attempt, client, session, trans]
    )
  };
}

/** How many runs have ended, as far as is known. */
function countEnds(view: SessionView | undefined): number {
  return view?.items.reduce((n, item) => (item.kind === 'result' ? n + 1 : n), 0) ?? 0;
}
