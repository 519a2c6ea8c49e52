/** The other options of a new research: agent, persona, repository, limits. */
import React from 'react';

import type { Model, Persona } from '../../client';
import type { Trans } from '../../platform';
import { useSelected, useTrans } from '../../platform';
import { Button } from '../ui';
import type { Plan } from './compose';
import { canResearch } from './compose';
import { Field } from './Field';
import { freeName } from './topics';

interface ModelFieldProps {
  models: readonly Model[];
  chosen: Model | null;
  error?: string;
  onChange: (id: string) => void;
}

export function ModelField({ models, chosen, error, onChange }: ModelFieldProps): JSX.Element {
  const trans = useTrans();
  const missing = models.find(model => !model.available && model.reason);
  const help = (
    <>
      {chosen && <span>{priceLine(chosen, trans)}</span>}
      {missing && <span>{[missing.reason, missing.next].filter(Boolean).join(' ')}</span>}
    </>
  );
  return (
    <Field label={trans.__('Agent')} name="model" help={help} error={error}>
      {wiring => (
        <select
          {...wiring}
          className="jp-Postdoc-Select"
          value={chosen?.id ?? ''}
          onChange={event => onChange(event.target.value)}
        >
          {chosen === null && <option value="">{trans.__('The server chooses')}</option>}
          {models.map(model => (
            <option key={model.id} value={model.id} disabled={!canResearch(model)} title={model.reason}>
              {canResearch(model)
                ? model.label
                : trans.__('%1 (%2)', model.label, model.reason ?? trans.__('not for research'))}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** "$2 in / $10 out per million tokens". */
export function priceLine(model: Model, trans: Trans): string {
  if (model.provider === 'template') {
    return trans.__('Plays the steps of the template. Needs no key and costs nothing.');
  }
  return model.prices
    ? trans.__('$%1 in / $%2 out per million tokens', model.prices.input, model.prices.output)
    : trans.__('The price is not known: costs cannot be counted.');
}

interface PersonaFieldProps {
  personas: readonly Persona[];
  chosen: Persona | null;
  error?: string;
  onChange: (name: string) => void;
}

export function PersonaField({ personas, chosen, error, onChange }: PersonaFieldProps): JSX.Element {
  const trans = useTrans();
  const limited = chosen?.tools
    ? trans._n('Uses %1 tool.', 'Uses %1 tools.', chosen.tools.length)
    : undefined;
  return (
    <Field label={trans.__('Persona')} name="persona" help={limited} error={error}>
      {wiring => (
        <select
          {...wiring}
          className="jp-Postdoc-Select"
          value={chosen?.name ?? ''}
          onChange={event => onChange(event.target.value)}
        >
          {chosen === null && <option value="">{trans.__('The server chooses')}</option>}
          {personas.map(persona => (
            <option key={persona.name} value={persona.name}>
              {persona.title}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

interface RepoFieldProps {
  value: string;
  plan: Plan;
  error?: string;
  proposal: string | null;
  onChange: (name: string) => void;
}

export function RepoField({ value, plan, error, proposal, onChange }: RepoFieldProps): JSX.Element {
  const trans = useTrans();
  const sessions = useSelected(state => state.sessions);
  const taken = new Set(Object.values(sessions ?? {}).map(session => session.project?.repo));
  const name = value.trim();
  const clash = name !== '' && taken.has(name);
  const offer = proposal ?? (clash ? freeName(name, taken) : null);
  const help =
    name === ''
      ? plan.slug === null
        ? trans.__('The server makes a name from the topic.')
        : trans.__('Will be %1, with a number when that is taken.', freeName(plan.slug, taken) ?? plan.slug)
      : clash
        ? trans.__('One of your sessions has a repository of this name already.')
        : undefined;
  return (
    <Field
      label={trans.__('Repository name')}
      name="repo"
      help={help}
      error={error}
      remedy={
        offer && offer !== name ? (
          <Button kind="link" onClick={() => onChange(offer)}>
            {trans.__('Use %1', offer)}
          </Button>
        ) : undefined
      }
    >
      {wiring => (
        <input
          {...wiring}
          className="jp-Postdoc-Input"
          value={value}
          placeholder={plan.slug ?? trans.__('from the topic')}
          spellCheck={false}
          autoComplete="off"
          onChange={event => onChange(event.target.value)}
        />
      )}
    </Field>
  );
}

interface LimitsProps {
  values: { usd: string; minutes: string; turns: string };
  errors: Readonly<Record<string, string | undefined>>;
  onChange: (name: 'usd' | 'minutes' | 'turns', value: string) => void;
}

/** Where the work pauses and asks. */
export function Limits({ values, errors, onChange }: LimitsProps): JSX.Element {
  const trans = useTrans();
  const labels = {
    usd: trans.__('Max cost, $'),
    minutes: trans.__('Max minutes'),
    turns: trans.__('Max turns')
  };
  return (
    <fieldset className="jp-Postdoc-Limits">
      <legend className="jp-Postdoc-Field-label">{trans.__('Limits')}</legend>
      <div className="jp-Postdoc-Limits-row">
        {(['usd', 'minutes', 'turns'] as const).map(name => (
          <Field key={name} label={labels[name]} name={name} error={errors[name]}>
            {wiring => (
              <input
                {...wiring}
                className="jp-Postdoc-Input"
                inputMode="decimal"
                value={values[name]}
                placeholder={trans.__('server’s')}
                onChange={event => onChange(name, event.target.value)}
              />
            )}
          </Field>
        ))}
      </div>
      <div className="jp-Postdoc-Field-help">
        {trans.__('At a limit the work pauses and asks you. Empty or 0: the server’s own limit.')}
      </div>
    </fieldset>
  );
}
