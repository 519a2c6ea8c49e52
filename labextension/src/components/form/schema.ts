/**
 * A template's parameters as fields of a form. What the user types stays text until the form is sent; then it is
 * read and checked (values.ts), and only what differs from the default goes to the server, whose word is final.
 */

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

export function show(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
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
