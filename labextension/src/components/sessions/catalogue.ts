/** What the server offers: research templates and models. Asked for when connected, and again after a reconnection. */
import { useEffect, useState } from 'react';

import type { Client, Model, Template } from '../../client';
import { usePlatform, useSelected } from '../../platform';

/** `null`: not known (yet). */
export interface Catalogue {
  readonly templates: readonly Template[] | null;
  readonly models: readonly Model[] | null;
}

const NOTHING: Catalogue = { templates: null, models: null };
// What was known last, so that coming back to the list does not flicker.
const last = new WeakMap<Client, Catalogue>();

/** The templates and models as far as they are known. */
export function useCatalogue(): Catalogue {
  const { client } = usePlatform();
  const connected = useSelected(state => state.connection.state === 'connected');
  const [catalogue, setCatalogue] = useState(() => last.get(client) ?? NOTHING);
  useEffect(() => {
    if (!connected) {
      return;
    }
    let wanted = true;
    const take = (part: Partial<Catalogue>) => {
      last.set(client, { ...(last.get(client) ?? NOTHING), ...part });
      if (wanted) {
        setCatalogue(now => ({ ...now, ...part }));
      }
    };
    // A failure leaves what was known: names are then shown as the server's ids.
    client.templates().then(
      templates => take({ templates }),
      () => undefined
    );
    client.models().then(
      models => take({ models }),
      () => undefined
    );
    return () => {
      wanted = false;
    };
  }, [client, connected]);
  return catalogue;
}

/** Whether research can only be done by template scripts, because no model has a key. */
export function onlyTemplates(models: readonly Model[] | null): boolean {
  return (
    models !== null &&
    models.length > 0 &&
    models.every(model => !model.available || model.provider === 'template')
  );
}
