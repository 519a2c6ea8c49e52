/** The list of a session's checkpoints, kept up with what its agent commits. */
import { useCallback, useEffect, useRef, useState } from 'react';

import type { Checkpoint } from '../../client';
import { usePlatform, useSelected } from '../../platform';
import { troubleOf } from '../session/trouble';

export interface Checkpoints {
  /** Newest first; null: not yet known. */
  readonly list: readonly Checkpoint[] | null;
  readonly trouble: string | null;
  readonly reload: () => void;
}

export function useCheckpoints(session: string): Checkpoints {
  const { client } = usePlatform();
  const [list, setList] = useState<readonly Checkpoint[] | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const asked = useRef(0);
  // The newest commit that the session's log tells of: when there is another one, the list is not the newest any more.
  const newest = useSelected(({ views: { [session]: view } }) => {
    const items = view?.items ?? [];
    for (let at = items.length - 1; at >= 0; at -= 1) {
      const item = items[at];
      if (item?.kind === 'checkpoint') {
        return item.commit;
      }
    }
    return '';
  });

  const reload = useCallback(() => {
    const turn = ++asked.current;
    setTrouble(null);
    client.checkpoints(session).then(
      found => turn === asked.current && setList(found),
      (error: unknown) => turn === asked.current && setTrouble(troubleOf(error))
    );
  }, [client, session]);
  useEffect(() => {
    reload();
    return () => {
      asked.current += 1;
    };
  }, [reload, newest]);
  return { list, trouble, reload };
}
