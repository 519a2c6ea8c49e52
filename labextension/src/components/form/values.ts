/** What was entered into a form of a schema: read, checked, and compared with the defaults. */
import type { Trans } from '../../platform';
import type { FieldSpec, JsonObject, Raw } from './schema';
import { fieldsOf, show } from './schema';

export interface Collected {
  /** What differs from the defaults. */
  readonly params: Record<string, unknown>;
  /** A sentence for each field that cannot be sent as it is. */
  readonly errors: Record<string, string>;
}

/** Read and check the whole form. */
export function collect(schema: JsonObject, raw: Raw, trans: Trans): Collected {
  const params: Record<string, unknown> = {};
  const errors: Record<string, string> = {};
  for (const field of fieldsOf(schema)) {
    const outcome = valueOf(field, raw[field.name], trans);
    if (outcome.problem !== undefined) {
      errors[field.name] = outcome.problem;
    } else if ('value' in outcome && !same(outcome.value, field.schema.default)) {
      params[field.name] = outcome.value;
    }
  }
  return { params, errors };
}

type Outcome = { value?: unknown; problem?: string };

/** What was entered as a value of the declared type, or what is wrong with it. Neither: nothing is sent. */
export function valueOf(field: FieldSpec, raw: string | boolean | undefined, trans: Trans): Outcome {
  if (field.control === 'fixed') {
    return { value: field.schema.const };
  }
  if (field.control === 'tick') {
    const value = raw === undefined ? field.schema.default : raw === true;
    return value === undefined ? (field.required ? { value: false } : {}) : { value };
  }
  const entered = typeof raw === 'string' ? raw : '';
  if (entered.trim() === '') {
    if ('default' in field.schema) {
      return raw !== undefined && field.nullable && field.schema.default !== null ? { value: null } : {};
    }
    return field.required ? (field.nullable ? { value: null } : { problem: trans.__('Fill this in.') }) : {};
  }
  const outcome = read(field, entered, trans);
  return outcome.problem === undefined ? checked(field, outcome.value, trans) : outcome;
}

function read(field: FieldSpec, entered: string, trans: Trans): Outcome {
  switch (field.control) {
    case 'integer':
    case 'number':
      return readNumber(entered, field.control, trans);
    case 'choice':
    case 'json':
      try {
        return { value: JSON.parse(entered) as unknown };
      } catch {
        return { problem: trans.__('This is not JSON. Text needs quotation marks: "text".') };
      }
    case 'lines': {
      const lines = entered
        .split('\n')
        .map(line => line.trim())
        .filter(line => line !== '');
      if (field.items.type === 'string') {
        return { value: lines };
      }
      const kind = field.items.type === 'integer' ? 'integer' : 'number';
      const numbers = lines.map(line => readNumber(line, kind, trans));
      const wrong = numbers.find(one => one.problem !== undefined);
      return wrong ?? { value: numbers.map(one => one.value) };
    }
    default:
      return { value: field.control === 'text' ? entered : entered.trim() };
  }
}

function readNumber(entered: string, kind: 'integer' | 'number', trans: Trans): Outcome {
  const plain = entered.trim().replace(/_/g, '');
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(plain) ? Number(plain) : NaN;
  if (!Number.isFinite(value) || (kind === 'integer' && !Number.isInteger(value))) {
    return { problem: kind === 'integer' ? trans.__('Enter a whole number.') : trans.__('Enter a number.') };
  }
  return { value };
}

function checked(field: FieldSpec, value: unknown, trans: Trans): Outcome {
  const problem =
    complaint(field.schema, value, trans) ??
    (field.control === 'lines' && Array.isArray(value)
      ? value.map(item => complaint(field.items, item, trans)).find(found => found !== null)
      : null);
  return problem ? { problem } : { value };
}

/** What a value breaks, as a sentence; null when it fits. The rarer rules are left to the server. */
function complaint(schema: JsonObject, value: unknown, trans: Trans): string | null {
  if (Array.isArray(schema.enum) && !schema.enum.some(allowed => same(allowed, value))) {
    return trans.__('Choose one of: %1.', schema.enum.map(show).join(', '));
  }
  if (typeof value === 'number') {
    return numberComplaint(schema, value, trans);
  }
  if (typeof value === 'string') {
    const length = [...value].length;
    if (length < num(schema.minLength, 0)) {
      return trans._n('At least %1 character.', 'At least %1 characters.', num(schema.minLength, 0));
    }
    if (length > num(schema.maxLength, Infinity)) {
      return trans.__('At most %1 characters; these are %2.', schema.maxLength, length);
    }
    if (typeof schema.pattern === 'string' && !fits(schema.pattern, value)) {
      return trans.__('This must match the pattern %1.', schema.pattern);
    }
  }
  if (Array.isArray(value)) {
    if (value.length < num(schema.minItems, 0)) {
      return trans._n('At least %1 line.', 'At least %1 lines.', num(schema.minItems, 0));
    }
    if (value.length > num(schema.maxItems, Infinity)) {
      return trans.__('At most %1 lines; these are %2.', schema.maxItems, value.length);
    }
    if (schema.uniqueItems === true && new Set(value.map(one => JSON.stringify(one))).size < value.length) {
      return trans.__('Each line may be there only once.');
    }
  }
  return null;
}

function numberComplaint(schema: JsonObject, value: number, trans: Trans): string | null {
  const range = rangeOf(schema, trans);
  const low = value < num(schema.minimum, -Infinity) || value <= num(schema.exclusiveMinimum, -Infinity);
  const high = value > num(schema.maximum, Infinity) || value >= num(schema.exclusiveMaximum, Infinity);
  if (low || high) {
    return trans.__('Allowed: %1.', range);
  }
  const step = num(schema.multipleOf, 0);
  if (step > 0 && Math.abs(value / step - Math.round(value / step)) > 1e-9) {
    return trans.__('This must be a multiple of %1.', step);
  }
  return null;
}

/** The bounds of a number in words; "" when there are none worth saying. */
export function rangeOf(schema: JsonObject, trans: Trans): string {
  // The largest whole number of 32 bits means "no bound" to a person.
  const top = num(schema.maximum, Infinity) >= 2147483647 ? undefined : schema.maximum;
  const parts = [
    schema.minimum !== undefined && top !== undefined ? trans.__('%1 to %2', schema.minimum, top) : '',
    schema.minimum !== undefined && top === undefined ? trans.__('%1 or more', schema.minimum) : '',
    schema.minimum === undefined && top !== undefined ? trans.__('at most %1', top) : '',
    schema.exclusiveMinimum !== undefined ? trans.__('above %1', schema.exclusiveMinimum) : '',
    schema.exclusiveMaximum !== undefined ? trans.__('below %1', schema.exclusiveMaximum) : ''
  ];
  return parts.filter(part => part !== '').join(', ');
}

function fits(pattern: string, value: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(value);
  } catch {
    return true; // a pattern of another dialect: the server knows
  }
}

/** Equal as JSON, whatever the order of keys. */
export function same(a: unknown, b: unknown): boolean {
  return stable(a) === stable(b);
}

function stable(value: unknown): string | undefined {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner
  );
}

function num(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}
