// Makes src/protocol.ts from the server's JSON Schema. `--check` fails when it would change.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compile } from 'json-schema-to-typescript';

const at = path => fileURLToPath(new URL(path, import.meta.url));
const source = at('../../extension/jupyterlab_postdoc/schema/protocol.schema.json');
const target = at('../src/protocol.ts');

const schema = JSON.parse(readFileSync(source, 'utf8'));
const name = ref => ref.$ref.split('/').pop();
const anyOf = refs => ({ anyOf: refs });

// Titles of plain fields would become type names of their own; only the definitions are named.
const strip = (value, top) => {
  if (Array.isArray(value)) return value.map(v => strip(v, false));
  if (value === null || typeof value !== 'object') return value;
  // A plain object of anything; the compiler would call it {}.
  if (value.type === 'object' && !value.properties && !value.additionalProperties)
    return { tsType: 'Record<string, unknown>' };
  const out = {};
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'title' && typeof inner === 'string' && !top) continue;
    out[key] =
      key === 'properties' || key === '$defs'
        ? Object.fromEntries(Object.entries(inner).map(([k, v]) => [k, strip(v, key === '$defs')]))
        : strip(inner, false);
  }
  return out;
};

const defs = strip(schema, true).$defs;
for (const ref of [...schema.commands, ...schema.events, ...schema.control]) {
  const def = defs[name(ref)];
  const tag = def.properties.type;
  if (tag?.enum?.length === 1) def.properties.type = { const: tag.enum[0] };
  def.required = [...new Set(['type', ...(def.required ?? [])])];
}
// Events by name; their place in the log (Head) is added once, below.
defs.AnyEvent = anyOf(schema.events);
defs.AnyCommand = anyOf(schema.commands);
defs.AnyControl = anyOf(schema.control);
delete defs.EventFrame;
defs.History.properties.messages.items = { tsType: 'EventFrame' };

const body = await compile(
  {
    title: 'Protocol',
    type: 'object',
    additionalProperties: false,
    properties: {
      command: { $ref: '#/$defs/AnyCommand' },
      event: { $ref: '#/$defs/AnyEvent' },
      control: { $ref: '#/$defs/AnyControl' },
      head: { $ref: '#/$defs/Head' },
      envelope: { $ref: '#/$defs/Envelope' }
    },
    $defs: defs
  },
  'Protocol',
  {
    additionalProperties: false,
    bannerComment: '',
    unknownAny: true,
    style: { singleQuote: true, printWidth: 110, trailingComma: 'none' }
  }
);

const text = `// Made from the server's JSON Schema by \`jlpm protocol\`. Do not edit.\n\n/** An event as it arrives: its place in the log, and its body. */\nexport type EventFrame = Head & AnyEvent;\n/** Whatever arrives on the socket. */\nexport type Frame = EventFrame | AnyControl;\n\n${body.trim()}\n`;

if (process.argv.includes('--check')) {
  const old = readFileSync(target, 'utf8');
  if (old !== text) {
    console.error('src/protocol.ts is not what the schema says. Run `jlpm protocol`.');
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
