/** Which template: the server's choice, or a card. One tab stop, arrows choose, as radio buttons do. */
import React, { useId } from 'react';

import type { Template } from '../../client';
import { useTrans } from '../../platform';
import { Icon, classes } from '../ui';
import type { Plan } from './compose';

interface TemplateFieldProps {
  templates: readonly Template[];
  plan: Plan;
  error?: string;
  /** '': the server chooses. */
  onChange: (name: string) => void;
}

export function TemplateField({ templates, plan, error, onChange }: TemplateFieldProps): JSX.Element {
  const trans = useTrans();
  const id = useId();
  const chosen = plan.chosen?.name ?? '';
  return (
    <fieldset
      className={classes('jp-Postdoc-Templates', error && 'jp-mod-invalid')}
      data-field="template"
      aria-describedby={error ? `${id}-error` : undefined}
    >
      <legend className="jp-Postdoc-Field-label">{trans.__('Template')}</legend>
      <TemplateCard
        group={id}
        value=""
        title={trans.__('Choose for me')}
        text={trans.__('The server chooses by the topic.')}
        checked={chosen === ''}
        onChange={onChange}
      />
      {templates.map(template => (
        <TemplateCard
          key={template.name}
          group={id}
          value={template.name}
          title={template.title}
          text={template.summary}
          mark={chosen === '' && plan.fitting.includes(template) ? trans.__('Fits the topic') : undefined}
          checked={chosen === template.name}
          onChange={onChange}
        />
      ))}
      {error && (
        <div className="jp-Postdoc-Field-error" id={`${id}-error`}>
          <Icon name="warn" />
          <span>{error}</span>
        </div>
      )}
    </fieldset>
  );
}

interface TemplateCardProps {
  group: string;
  value: string;
  title: string;
  text: string;
  mark?: string;
  checked: boolean;
  onChange: (name: string) => void;
}

function TemplateCard({
  group,
  value,
  title,
  text,
  mark,
  checked,
  onChange
}: TemplateCardProps): JSX.Element {
  const id = useId();
  return (
    <label className={classes('jp-Postdoc-TemplateCard', checked && 'jp-mod-checked')}>
      <input
        type="radio"
        name={group}
        value={value}
        checked={checked}
        aria-labelledby={`${id}-title`}
        aria-describedby={`${id}-text`}
        onChange={() => onChange(value)}
      />
      <span className="jp-Postdoc-TemplateCard-title">
        <span id={`${id}-title`}>{title}</span>
        {mark && (
          <span className="jp-Postdoc-TemplateCard-mark">
            <Icon name="check" />
            {mark}
          </span>
        )}
      </span>
      <span className="jp-Postdoc-TemplateCard-text" id={`${id}-text`} title={text}>
        {text}
      </span>
    </label>
  );
}

/** What the topic leads to, in one line below it. */
export function FitLine({
  plan,
  topic,
  loaded
}: {
  plan: Plan;
  topic: string;
  loaded: boolean;
}): JSX.Element | null {
  const trans = useTrans();
  if (topic.trim() === '' || !loaded) {
    return null;
  }
  const titles = plan.fitting.map(template => template.title).join(', ');
  const asks = plan.model?.provider === 'template';
  const line =
    plan.template !== null
      ? trans.__('Template: %1', plan.template.title)
      : plan.fitting.length > 1
        ? asks
          ? trans.__('Several templates fit (%1): you will be asked which one, or choose it below.', titles)
          : trans.__('Several templates fit (%1): the agent chooses.', titles)
        : asks
          ? trans.__('No template fits this topic: you will be asked which one, or choose it below.')
          : trans.__('No template fits this topic: the agent works freely.');
  return (
    <div className="jp-Postdoc-Form-fit" role="status">
      <Icon name={plan.template !== null ? 'check' : 'info'} />
      <span>{line}</span>
    </div>
  );
}
