/**
 * A template's parameters as fields of a form. What the user types stays text until the form is sent; then it is
 * read, checked against the schema, and only what differs from the default goes to the server, whose word is final.
 */
import type { Trans } from '../../platform';

export type Json = unknown;
export type JsonObject = Readonly<Record<string, unknown>>;

/** What the user has entered: text, or a tick. A name that is missing stands for "as the template says". */
export type Raw = Readonly<Record<string, string | boolean>>;

/** How a field is shown. `lines`: one item of a list per line. `fixed`: nothing to choose. `json`: whatever else. */
export type Control =
  | 'text'
  | 'date'
  | 'time'
  | 'integer'
  | 'number'
  | 'tick'
  | 'choice'
  | 'lines'
  | 'dataset'
  | 'fixed'
  | 'json';

export interface Choice {
  /** The value as JSON: what a `<select>` holds. */
  readonly key: string;
  readonly label: string;
}

export interface FieldSpec {
  readonly name: string;
  readonly title: string;
  readonly description: string;
  readonly control: Control;
  readonly schema: JsonObject;
  readonly required: boolean;
  readonly nullable: boolean;
  readonly choices: readonly Choice[];
  /** The schema of one item of a list. */
  readonly items: JsonObject;
}

/** The fields of a schema, in its order. Anything that is not an object of properties has none. */
export function fieldsOf(schema: JsonObject): FieldSpec[] {
  const required = Array.isArray(schema.required) ? schema.required : [];
  return Object.entries(record(schema.properties)).map(([name, property]) =>
    fieldOf(name, resolve(record(property), schema), schema, required.includes(name))
  );
}

function fieldOf(name: string, given: JsonObject, root: JsonObject, required: boolean): FieldSpec {
  const { schema, nullable } = withoutNull(given, root);
  const base = {
    name,
    title: text(given.title) || text(schema.title) || words(name),
    description: text(given.description) || text(schema.description),
    // The outer schema has the default, the inner one the rules.
    schema: { ...schema, ...('default' in given ? { default: given.default } : {}) },
    required,
    nullable,
    choices: [] as readonly Choice[],
    items: {} as JsonObject
  };
  if ('const' in schema) {
    return { ...base, control: 'fixed' };
  }
  const choices = choicesOf(schema);
  if (choices !== null) {
    return { ...base, control: 'choice', choices };
  }
  switch (schema.type) {
    case 'boolean':
      return nullable ? { ...base, control: 'choice', choices: BOOLEANS } : { ...base, control: 'tick' };
    case 'integer':
    case 'number':
      return { ...base, control: schema.type };
    case 'string':
      return { ...base, control: textControl(schema.format) };
    case 'array': {
      const items = resolve(record(schema.items), root);
      const plain = ['string', 'integer', 'number'].includes(String(items.type));
      return plain ? { ...base, control: 'lines', items } : { ...base, control: 'json' };
    }
    default:
      return { ...base, control: 'json' };
  }
}

const BOOLEANS: readonly Choice[] = [
  { key: 'true', label: 'true' },
  { key: 'false', label: 'false' }
];

function textControl(format: unknown): Control {
  return format === 'dataset' || format === 'date' || format === 'time' ? format : 'text';
}

/** The choices of an `enum`, or of a list of constants with titles; null when the field is free. */
function choicesOf(schema: JsonObject): readonly Choice[] | null {
  if (Array.isArray(schema.enum)) {
    return schema.enum.filter(value => value !== null).map(value => choice(value));
  }
  const variants = variantsOf(schema);
  if (variants !== null && variants.every(variant => 'const' in variant)) {
    return variants.map(variant => choice(variant.const, text(variant.title)));
  }
  return null;
}

function choice(value: Json, title = ''): Choice {
  return {
    key: JSON.stringify(value),
    label: title || (typeof value === 'string' ? value : JSON.stringify(value))
  };
}

/** `$ref` to the schema's own definitions, and an `allOf` of one, put in place. */
function resolve(schema: JsonObject, root: JsonObject, depth = 0): JsonObject {
  const ref = text(schema.$ref);
  if (depth < 8 && ref.startsWith('#/')) {
    const target = ref
      .slice(2)
      .split('/')
      .reduce<unknown>((at, key) => record(at)[key.replace(/~1/g, '/').replace(/~0/g, '~')], root);
    const { $ref: _, ...rest } = schema;
    return resolve({ ...record(target), ...rest }, root, depth + 1);
  }
  if (depth < 8 && Array.isArray(schema.allOf) && schema.allOf.length === 1) {
    const { allOf, ...rest } = schema;
    return resolve({ ...record((allOf as unknown[])[0]), ...rest }, root, depth + 1);
  }
  return schema;
}

/** The schema without its "or nothing". */
function withoutNull(schema: JsonObject, root: JsonObject): { schema: JsonObject; nullable: boolean } {
  if (Array.isArray(schema.type)) {
    const kinds = schema.type.filter(kind => kind !== 'null');
    const type = kinds.length === 1 ? kinds[0] : undefined;
    return { schema: { ...schema, type }, nullable: kinds.length < schema.type.length };
  }
  const variants = variantsOf(schema);
  if (variants !== null) {
    const real = variants.map(variant => resolve(variant, root)).filter(variant => variant.type !== 'null');
    if (real.length === 1 && variants.length === 2) {
      const { anyOf: _a, oneOf: _o, ...rest } = schema;
      return { schema: { ...real[0], ...rest }, nullable: true };
    }
  }
  const nullable = Array.isArray(schema.enum) && schema.enum.includes(null);
  return { schema, nullable };
}

function variantsOf(schema: JsonObject): JsonObject[] | null {
  const variants = schema.anyOf ?? schema.oneOf;
  return Array.isArray(variants) ? variants.map(record) : null;
}

/** The default as the field would hold it; undefined when there is none. */
export function defaultRaw(field: FieldSpec): string | boolean | undefined {
  const value = field.schema.default;
  if (field.control === 'fixed') {
    return show(field.schema.const);
  }
  if (value === undefined) {
    return undefined;
  }
  switch (field.control) {
    case 'tick':
      return value === true;
    case 'choice':
    case 'json':
      return value === null ? '' : JSON.stringify(value);
    case 'lines':
      return Array.isArray(value) ? value.map(show).join('\n') : '';
    default:
      return value === null ? '' : show(value);
  }
}

/** The names of made-up data that a description of a data field offers in quotation marks. */
export function namedChoices(field: FieldSpec): string[] {
  const quoted = field.description.match(/["“]([A-Za-z0-9_-]+)["”]/g) ?? [];
  return [...new Set(quoted.map(word => word.slice(1, -1)))];
}

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

export function show(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}

function num(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function record(value: unknown): JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** `cost_bps` as "Cost bps", for a parameter without a title. */
function words(name: string): string {
  const spaced = name.replace(/[_-]+/g, ' ').trim();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
