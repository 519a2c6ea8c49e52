import { describe, expect, it } from 'vitest';

import { defaultRaw, fieldsOf, namedChoices } from '../schema';
import { collect } from '../values';
import type { JsonObject, Raw } from '../schema';
import { templates, trans } from './harness';

const of = (properties: Record<string, unknown>, more: JsonObject = {}) => ({
  type: 'object',
  properties,
  ...more
});
const read = (property: unknown, entered: string | boolean, more: JsonObject = {}) => {
  const { params, errors } = collect(of({ x: property }, more), { x: entered }, trans);
  return errors.x ?? params.x;
};

describe('fields of a schema', () => {
  it.each([
    [{ type: 'string' }, 'text'],
    [{ type: 'string', format: 'date' }, 'date'],
    [{ type: 'string', format: 'time' }, 'time'],
    [{ type: 'string', format: 'date-time' }, 'text'],
    [{ type: 'string', format: 'dataset' }, 'dataset'],
    [{ type: 'integer' }, 'integer'],
    [{ type: 'number' }, 'number'],
    [{ type: 'boolean' }, 'tick'],
    [{ enum: [1, 'two'] }, 'choice'],
    [{ oneOf: [{ const: 1, title: 'One' }, { const: 2 }] }, 'choice'],
    [{ const: 7 }, 'fixed'],
    [{ anyOf: [{ type: 'integer' }, { type: 'null' }] }, 'integer'],
    [{ type: ['number', 'null'] }, 'number'],
    [{ type: ['boolean', 'null'] }, 'choice'],
    [{ type: 'array', items: { type: 'string' } }, 'lines'],
    [{ type: 'array', items: { type: 'object' } }, 'json'],
    [{ type: 'object' }, 'json'],
    [{ anyOf: [{ type: 'integer' }, { type: 'string' }] }, 'json'],
    [{ $ref: '#/$defs/size' }, 'integer'],
    [{ allOf: [{ $ref: '#/$defs/size' }] }, 'integer'],
    [{ $ref: '#/$defs/gone' }, 'json'],
    [true, 'json'],
    [{}, 'json']
  ])('%j is shown as %s', (property, control) => {
    const schema = of({ x: property }, { $defs: { size: { type: 'integer', minimum: 2 } } });
    expect(fieldsOf(schema)[0]?.control).toBe(control);
  });

  it('is not led in circles', () => {
    const schema = of({ x: { $ref: '#/$defs/a' } }, { $defs: { a: { $ref: '#/$defs/a' } } });
    expect(fieldsOf(schema)[0]?.control).toBe('json');
  });

  it('a name stands in for a missing title', () => {
    expect(fieldsOf(of({ cost_bps: { type: 'number' } }))[0]?.title).toBe('Cost bps');
  });
});

describe('what was entered', () => {
  it.each<[unknown, string | boolean, unknown]>([
    [{ type: 'string' }, 'a b', 'a b'],
    [{ type: 'integer' }, '1_000', 1000],
    [{ type: 'integer' }, '1.5', 'Enter a whole number.'],
    [{ type: 'integer' }, 'two', 'Enter a whole number.'],
    [{ type: 'number' }, '.5', 0.5],
    [{ type: 'number' }, '1e-3', 0.001],
    [{ type: 'number' }, 'Infinity', 'Enter a number.'],
    [{ type: 'number', minimum: 0, maximum: 5 }, '6', 'Allowed: 0 to 5.'],
    [{ type: 'number', exclusiveMinimum: 0 }, '0', 'Allowed: above 0.'],
    [{ type: 'number', multipleOf: 0.1 }, '0.3', 0.3],
    [{ type: 'number', multipleOf: 0.1 }, '0.35', 'This must be a multiple of 0.1.'],
    [{ type: 'string', pattern: '^[a-z]+$' }, 'A', 'This must match the pattern ^[a-z]+$.'],
    [{ type: 'string', pattern: '(?P<x>a)' }, 'b', 'b'],
    [{ type: 'string', minLength: 3 }, 'ab', 'At least 3 characters.'],
    [{ type: 'string', maxLength: 2 }, 'abc', 'At most 2 characters; these are 3.'],
    [{ type: 'boolean', default: false }, true, true],
    [{ enum: ['a', 2] }, '2', 2],
    [{ const: 7 }, '', 7],
    [{ type: 'array', items: { type: 'string' } }, 'a\n\n b \n', ['a', 'b']],
    [{ type: 'array', items: { type: 'integer' } }, '1\n2', [1, 2]],
    [{ type: 'array', items: { type: 'integer' } }, '1\nx', 'Enter a whole number.'],
    [
      { type: 'array', items: { type: 'string', maxLength: 1 } },
      'a\nbc',
      'At most 1 characters; these are 2.'
    ],
    [
      { type: 'array', items: { type: 'string' }, uniqueItems: true },
      'a\na',
      'Each line may be there only once.'
    ],
    [{ type: 'array', items: { type: 'string' }, maxItems: 1 }, 'a\nb', 'At most 1 lines; these are 2.'],
    [{}, '{"a": [1]}', { a: [1] }],
    [{}, 'oops', 'This is not JSON. Text needs quotation marks: "text".'],
    [{ anyOf: [{ type: 'integer' }, { type: 'null' }], default: 3 }, '', null]
  ])('%j, %j', (property, entered, expected) => {
    expect(read(property, entered)).toEqual(expected);
  });

  it('sends only what differs from the default', () => {
    const schema = of({
      a: { type: 'integer', default: 5 },
      b: { type: 'string', default: 'x' },
      c: { type: 'boolean', default: true },
      d: { type: 'object', default: { p: 1, q: 2 } },
      e: { type: 'array', items: { type: 'string' }, default: ['u'] }
    });
    const as = (raw: Raw) => collect(schema, raw, trans).params;
    expect(as({})).toEqual({});
    expect(as({ a: '5', b: 'x', c: true, d: '{"q": 2, "p": 1}', e: 'u' })).toEqual({});
    expect(as({ a: '6', b: 'y', c: false, d: '{}', e: 'u\nv' })).toEqual({
      a: 6,
      b: 'y',
      c: false,
      d: {},
      e: ['u', 'v']
    });
  });

  it('asks for what is required and has no default', () => {
    expect(read({ type: 'string' }, ' ', { required: ['x'] })).toBe('Fill this in.');
    expect(read({ type: 'string', default: 'a' }, '', { required: ['x'] })).toBeUndefined();
    expect(collect(of({ x: { type: 'boolean' } }, { required: ['x'] }), {}, trans).params).toEqual({
      x: false
    });
  });
});

describe.each(templates.map(template => [template.name, template] as const))('template %s', (_, template) => {
  const schema = template.parameters as JsonObject;

  it('has a field of its own kind for every parameter', () => {
    expect(fieldsOf(schema).map(field => field.control)).not.toContain('json');
  });

  it('sends nothing when its defaults are typed in', () => {
    const raw = Object.fromEntries(fieldsOf(schema).map(field => [field.name, defaultRaw(field) ?? '']));
    expect(collect(schema, raw, trans)).toEqual({ params: {}, errors: {} });
  });

  it('offers the made-up data that its description names', () => {
    const data = fieldsOf(schema).find(field => field.control === 'dataset');
    expect(data && namedChoices(data)).toEqual(['synthetic', 'synthetic-null']);
  });
});
