/** The parameters of a template as a form. */
import React, { useMemo } from 'react';

import { usePlatform, useTrans } from '../../platform';
import { Button } from '../ui';
import type { Wiring } from './Field';
import { Field } from './Field';
import type { FieldSpec, JsonObject, Raw } from './schema';
import { defaultRaw, fieldsOf, namedChoices, show } from './schema';
import { rangeOf } from './values';

interface SchemaFormProps {
  /** A JSON Schema of an object. */
  schema: JsonObject;
  value: Raw;
  /** A sentence by name of parameter. */
  errors: Readonly<Record<string, string | undefined>>;
  onChange: (value: Raw) => void;
}

export function SchemaForm({ schema, value, errors, onChange }: SchemaFormProps): JSX.Element {
  const fields = useMemo(() => fieldsOf(schema), [schema]);
  return (
    <div className="jp-Postdoc-SchemaForm">
      {fields.map(field => (
        <SchemaField
          key={field.name}
          field={field}
          raw={value[field.name]}
          error={errors[field.name]}
          onChange={entered => {
            const { [field.name]: _, ...rest } = value;
            onChange(entered === undefined ? rest : { ...rest, [field.name]: entered });
          }}
        />
      ))}
    </div>
  );
}

interface SchemaFieldProps {
  field: FieldSpec;
  raw: string | boolean | undefined;
  error: string | undefined;
  /** Undefined: as the template says. */
  onChange: (raw: string | boolean | undefined) => void;
}

function SchemaField({ field, raw, error, onChange }: SchemaFieldProps): JSX.Element {
  const trans = useTrans();
  const help = useHelp(field);
  const short = ['integer', 'number', 'date', 'time', 'tick'].includes(field.control);
  return (
    <Field
      label={field.title}
      name={`params.${field.name}`}
      help={help}
      error={error}
      required={field.required && field.schema.default === undefined && field.control !== 'fixed'}
      inline={short}
    >
      {wiring => <Input field={field} raw={raw} wiring={wiring} onChange={onChange} trans={trans} />}
    </Field>
  );
}

/** The description, what is allowed, and what holds when nothing is entered (which the placeholder shows to the eye). */
function useHelp(field: FieldSpec): React.ReactNode {
  const trans = useTrans();
  const numeric = field.control === 'integer' || field.control === 'number';
  const range = rangeOf(field.schema, trans);
  const usual = defaultRaw(field);
  const silent = ['fixed', 'choice', 'tick'].includes(field.control);
  const lines = [
    field.description,
    numeric && range ? trans.__('Allowed: %1.', range) : '',
    field.control === 'lines' ? trans.__('One per line.') : '',
    field.control === 'json' ? trans.__('Written as JSON.') : ''
  ].filter(part => part !== '');
  const said = !silent && typeof usual === 'string' && usual !== '';
  return lines.length > 0 || said ? (
    <>
      <span>{lines.join(' ')}</span>
      {said && (
        <span className="jp-Postdoc-hidden">{trans.__('Default: %1.', usual.replace(/\n/g, ', '))}</span>
      )}
    </>
  ) : null;
}

interface InputProps extends Omit<SchemaFieldProps, 'error'> {
  wiring: Wiring;
  trans: ReturnType<typeof useTrans>;
}

function Input({ field, raw, wiring, onChange, trans }: InputProps): JSX.Element {
  const usual = defaultRaw(field);
  const entered = typeof raw === 'string' ? raw : '';
  const placeholder = typeof usual === 'string' ? usual : undefined;
  const common = {
    ...wiring,
    className: 'jp-Postdoc-Input',
    value: entered,
    placeholder,
    spellCheck: false,
    onChange: (event: React.ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
      onChange(event.target.value)
  };
  switch (field.control) {
    case 'fixed':
      return <input {...common} value={show(field.schema.const)} readOnly />;
    case 'tick':
      return (
        <input
          {...wiring}
          type="checkbox"
          className="jp-Postdoc-Check"
          checked={(raw ?? usual) === true}
          onChange={event => onChange(event.target.checked)}
        />
      );
    case 'choice':
      return (
        <select
          {...wiring}
          className="jp-Postdoc-Select"
          value={typeof raw === 'string' ? raw : typeof usual === 'string' ? usual : ''}
          onChange={event => onChange(event.target.value)}
        >
          {(field.nullable || usual === undefined) && (
            <option value="">{field.nullable ? trans.__('(none)') : trans.__('(choose)')}</option>
          )}
          {field.choices.map(choice => (
            <option key={choice.key} value={choice.key}>
              {choice.label}
            </option>
          ))}
        </select>
      );
    case 'lines':
    case 'json':
      return <textarea {...common} className="jp-Postdoc-Textarea" rows={field.control === 'json' ? 4 : 3} />;
    case 'dataset':
      return <DatasetInput field={field} common={common} onChange={onChange} trans={trans} />;
    case 'integer':
    case 'number':
      return (
        <input {...common} type="text" inputMode={field.control === 'integer' ? 'numeric' : 'decimal'} />
      );
    default:
      return <input {...common} type={field.control} />;
  }
}

interface DatasetProps {
  field: FieldSpec;
  common: React.InputHTMLAttributes<HTMLInputElement>;
  onChange: (raw: string | undefined) => void;
  trans: ReturnType<typeof useTrans>;
}

/** A path below the server's root, or one of the data sets that the description names. */
function DatasetInput({ field, common, onChange, trans }: DatasetProps): JSX.Element {
  const platform = usePlatform();
  const current = common.value || defaultRaw(field);
  return (
    <div className="jp-Postdoc-Dataset">
      <div className="jp-Postdoc-Dataset-row">
        <input {...common} type="text" />
        {platform.pickFile && (
          <Button
            icon="folder"
            aria-label={trans.__('Browse for %1…', field.title)}
            onClick={() => {
              void platform.pickFile?.(trans.__('Choose a data file')).then(path => {
                if (path !== null) {
                  onChange(path);
                }
              });
            }}
          >
            {trans.__('Browse…')}
          </Button>
        )}
      </div>
      <div className="jp-Postdoc-Form-chips">
        {namedChoices(field).map(name => (
          <button
            key={name}
            type="button"
            className="jp-Postdoc-Form-chip"
            aria-pressed={current === name}
            onClick={() => onChange(name === defaultRaw(field) ? undefined : name)}
          >
            {name}
          </button>
        ))}
      </div>
    </div>
  );
}
