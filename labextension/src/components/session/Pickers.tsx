/** Which model and which persona a session has. */
import React, { useEffect, useState } from 'react';

import type { Client, Model, Persona } from '../../client';
import type { ChatInfo } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { classes } from '../ui';
import { troubleOf } from './trouble';

export interface Choices {
  readonly models: readonly Model[] | null;
  readonly personas: readonly Persona[] | null;
}

/** What each client was told last, so that the next session shows it at once. */
const known = new WeakMap<Client, Choices>();

/** What can be chosen; null until the server has told. */
export function useChoices(): Choices {
  const { client } = usePlatform();
  const [choices, setChoices] = useState<Choices>(
    () => known.get(client) ?? { models: null, personas: null }
  );
  useEffect(() => {
    let alive = true;
    const take = (change: Partial<Choices>) => {
      const all = { models: null, personas: null, ...known.get(client), ...change };
      known.set(client, all);
      if (alive) {
        setChoices(all);
      }
    };
    client.models().then(
      models => take({ models }),
      () => undefined
    );
    client.personas().then(
      personas => take({ personas }),
      () => undefined
    );
    return () => {
      alive = false;
    };
  }, [client]);
  return choices;
}

interface Props {
  info: ChatInfo;
  models: readonly Model[] | null;
  personas: readonly Persona[] | null;
  /** A turn is at work: nothing can be changed now. */
  locked: boolean;
  /** Something was said: the persona stays. */
  begun: boolean;
}

export function Pickers({ info, models, personas, locked, begun }: Props): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [problem, setProblem] = useState<string | null>(null);
  const set = (change: { model?: string; persona?: string }) => {
    setProblem(null);
    client.set(info.id, change).catch((error: unknown) => setProblem(troubleOf(error)));
  };
  const talking = (models ?? []).filter(model => model.kinds.includes('chat'));
  if (!talking.some(model => model.available)) {
    return <></>; // nothing here can be spoken to
  }
  return (
    <div className={classes('jp-Postdoc-Pickers', locked && 'jp-mod-locked')}>
      {talking.length > 0 && (
        <select
          className="jp-Postdoc-Select"
          aria-label={trans.__('Model')}
          title={
            locked ? trans.__('The model can be changed when the agent has finished.') : trans.__('Model')
          }
          value={info.model ?? ''}
          disabled={locked}
          onChange={event => set({ model: event.target.value })}
        >
          {!talking.some(model => model.id === info.model) && (
            <option value={info.model ?? ''}>{info.model ?? trans.__('Default model')}</option>
          )}
          {talking.map(model => (
            <option key={model.id} value={model.id} disabled={!model.available} title={model.reason}>
              {model.available
                ? model.label
                : trans.__('%1: %2', model.label, model.reason ?? trans.__('not available'))}
            </option>
          ))}
        </select>
      )}
      {personas !== null && personas.length > 1 && (
        <select
          className="jp-Postdoc-Select"
          aria-label={trans.__('Persona')}
          title={begun ? trans.__('A session keeps its persona.') : trans.__('Persona')}
          value={info.persona ?? ''}
          disabled={locked || begun}
          onChange={event => set({ persona: event.target.value })}
        >
          {personas.map(persona => (
            <option key={persona.name} value={persona.name}>
              {persona.title}
            </option>
          ))}
        </select>
      )}
      {problem !== null && (
        <span role="alert" className="jp-Postdoc-Trouble">
          {problem}
        </span>
      )}
    </div>
  );
}
