/** One field: its name, its input, help and complaint, wired together for screen readers. */
import React, { useId } from 'react';

import { Icon, classes } from '../ui';

/** What the input of a field has to carry. */
export interface Wiring {
  readonly id: string;
  readonly 'aria-describedby': string | undefined;
  readonly 'aria-invalid': true | undefined;
  readonly 'aria-required': true | undefined;
}

interface FieldProps {
  label: string;
  /** Which complaint it shows: after a refusal the focus goes to the first `[data-field]` that has one. */
  name: string;
  help?: React.ReactNode;
  error?: string;
  required?: boolean;
  /** Label and input in one line. */
  inline?: boolean;
  /** Below the complaint: a way out of it. */
  remedy?: React.ReactNode;
  className?: string;
  children: (wiring: Wiring) => React.ReactNode;
}

export function Field(props: FieldProps): JSX.Element {
  const { label, name, help, error, required, inline, remedy, className, children } = props;
  const id = useId();
  const described = [help ? `${id}-help` : '', error ? `${id}-error` : ''].filter(Boolean).join(' ');
  return (
    <div
      className={classes('jp-Postdoc-Field', inline && 'jp-mod-inline', error && 'jp-mod-invalid', className)}
      data-field={name}
    >
      <label className="jp-Postdoc-Field-label" htmlFor={id}>
        {label}
        {required && <span aria-hidden="true"> *</span>}
      </label>
      {children({
        id,
        'aria-describedby': described || undefined,
        'aria-invalid': error ? true : undefined,
        'aria-required': required ? true : undefined
      })}
      {help && (
        <div className="jp-Postdoc-Field-help" id={`${id}-help`}>
          {help}
        </div>
      )}
      {error && (
        <div className="jp-Postdoc-Field-error" id={`${id}-error`}>
          <Icon name="warn" />
          <span>{error}</span>
        </div>
      )}
      {remedy}
    </div>
  );
}
