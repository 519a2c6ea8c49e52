/** Which model and which persona a session has. */
import React, { useEffect, useState } from 'react';

import type { Model, Persona } from '../../client';
import { RequestFailed } from '../../client';
import type { ChatInfo } from '../../model';
import { usePlatform, useTrans } from '../../platform';

/** What can be chosen; null until the server has told. */
export function useChoices(): { models: readonly Model[] | null; personas: readonly Persona[] | null } {
  const { client } = usePlatform();
  const [models, setModels] = useState<readonly Model[] | null>(null);
  const [personas, setPersonas] = useState<readonly Persona[] | null>(null);
  useEffect(() => {
    let alive = true;
    client.models().then(
      found => alive && setModels(found),
      () => undefined
    );
    client.personas().then(
      found => alive && setPersonas(found),
      () => undefined
    );
    return () => {
      alive = false;
    };
  }, [client]);
  return { models, personas };
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
    client.set(info.id, change).catch((error: unknown) => {
      setProblem(
        error instanceof RequestFailed ? `${error.problem.error} ${error.problem.next}` : String(error)
      );
    });
  };
  const known = (models ?? []).filter(model => model.provider !== 'template');
  if (!known.some(model => model.available)) {
    return <></>; // nothing here can be spoken to
  }
  return (
    <div className="jp-Postdoc-Pickers">
      {known.length > 0 && (
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
          {!known.some(model => model.id === info.model) && (
            <option value={info.model ?? ''}>{info.model ?? trans.__('No model')}</option>
          )}
          {known.map(model => (
            <option key={model.id} value={model.id} disabled={!model.available} title={model.reason}>
              {model.available ? model.label : trans.__('%1 (not available)', model.label)}
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
      {problem !== null && <span role="alert">{problem}</span>}
    </div>
  );
}
