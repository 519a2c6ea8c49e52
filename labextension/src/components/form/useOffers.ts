/** What the server offers to choose from, fetched when the form opens and again when the connection is back. */
import { useCallback, useEffect, useState } from 'react';

import type { Problem } from '../../model';
import { usePlatform, useSelected } from '../../platform';
import type { Offers } from './compose';
import { problemFrom } from './problems';

const NOTHING: Offers = { templates: null, models: null, personas: null };

/** `problem`: why a list is missing; the form works without it, with the server's own choice. */
export function useOffers(): { offers: Offers; problem: Problem | null; reload: () => void } {
  const { client, trans } = usePlatform();
  const online = useSelected(state => state.connection.state === 'connected');
  const [offers, setOffers] = useState<Offers>(NOTHING);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [attempt, setAttempt] = useState(0);
  const reload = useCallback(() => setAttempt(n => n + 1), []);

  useEffect(() => {
    let here = true;
    const take = <K extends keyof Offers>(name: K, list: Promise<Offers[K]>) =>
      list.then(value => {
        if (here) {
          setOffers(known => ({ ...known, [name]: value }));
        }
      });
    void Promise.all([
      take('templates', client.templates()),
      take('models', client.models()),
      take('personas', client.personas())
    ]).then(
      () => here && setProblem(null),
      reason => here && setProblem(problemFrom(reason, trans))
    );
    return () => {
      here = false;
    };
  }, [client, trans, attempt, online]);

  return { offers, problem, reload };
}
