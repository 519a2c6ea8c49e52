/** One call of a tool: a line in plain words; what went in and came out on demand. */
import React, { memo, useMemo, useState } from 'react';

import { duration } from '../../format';
import type { Item, ToolItem } from '../../model';
import type { Trans } from '../../platform';
import { exposed, plainOutput } from '../../plain';
import { usePlatform, useTrans } from '../../platform';
import { recordOf, textIn } from '../../store/parts';
import type { IconName } from '../ui';
import { Button, Disclosure, Icon } from '../ui';
import { Cells } from './Cells';
import { changesOf, countsOf } from './changes';
import { CodeBlock, Diff, Output } from './Code';
import { Picture } from './Picture';

const FAMILY: readonly [RegExp, IconName][] = [
  [/^nb_run$/, 'play'],
  [/^nb_/, 'notebook'],
  [/^(read_file|glob|grep)$/, 'search'],
  [/^(write|edit)_file$/, 'edit'],
  [/^fetch_dataset$/, 'data'],
  [/^web_/, 'globe'],
  [/^shell$/, 'shell'],
  [/^py_exec$/, 'code'],
  [/^git_/, 'commit'],
  [/^(ask_user)$/, 'question'],
  [/^(delegate)$/, 'persona'],
  [/^(plan|finish)$/, 'list']
];

/** The icon of a tool's family. */
export function toolIcon(name: string): IconName {
  return FAMILY.find(([pattern]) => pattern.test(name))?.[1] ?? 'bolt';
}

/** Shorter than this, a duration says nothing. Milliseconds. */
export const NOTABLE_MS = 100;

const STATES: Record<ToolItem['status'], IconName> = {
  writing: 'spinner',
  asked: 'clock',
  running: 'spinner',
  ok: 'check',
  failed: 'error',
  cut: 'square'
};

/** What is being done, while the call that would say it is not yet written. */
function nameInWords(trans: Trans, name: string): string {
  switch (name) {
    case '':
      return trans.__('A tool');
    case 'nb_edit':
      return trans.__('Editing the notebook');
    case 'nb_create':
      return trans.__('Creating a notebook');
    case 'write_file':
      return trans.__('Writing a file');
    case 'edit_file':
      return trans.__('Editing a file');
    case 'shell':
      return trans.__('Running a command');
    case 'py_exec':
      return trans.__('Running Python');
    case 'delegate':
      return trans.__('Reading up');
    case 'plan':
      return trans.__('Updating the plan');
    default:
      return name.replace(/^mcp__/, '').replaceAll('_', ' ');
  }
}

/** The whole of a cut event or output, as text. */
async function wholeOutput(blob: Blob): Promise<string> {
  const text = await blob.text();
  if (blob.type.includes('json')) {
    try {
      const event = recordOf(JSON.parse(text));
      return textIn(event, 'content') || text;
    } catch {
      return text;
    }
  }
  return text;
}

/** What a running program wrote last; its end is enough to tell, and costs the same however long it runs. */
function lastLines(output: string): string {
  return plainOutput(output.slice(-4000)).trimEnd().split('\n').slice(-4).join('\n');
}

interface Props {
  tool: ToolItem;
  session: string;
  items: readonly Item[];
  children?: React.ReactNode;
}

function Details({ tool, session, items, notebook }: Props & { notebook: string | null }): JSX.Element {
  const platform = usePlatform();
  const trans = useTrans();
  const { client, openFile, openNotebook } = platform;
  const changes = useMemo(() => changesOf(tool, items), [tool, items]);
  const path = textIn(tool.input ?? {}, 'path');
  const code = textIn(tool.input ?? {}, 'code') || textIn(tool.input ?? {}, 'command');
  const rest = Object.entries(tool.input ?? {}).filter(
    ([name]) => !['code', 'command', 'changes', 'old', 'new', 'content'].includes(name)
  );
  const { blob } = tool;
  const cellErrors = tool.cells.some(cell => cell.error !== null);
  return (
    <div className="jp-Postdoc-Tool-details">
      {changes !== null
        ? changes.map((change, index) => <Diff key={index} change={change} />)
        : code !== '' && <CodeBlock code={code} label={trans.__('Input')} />}
      {changes === null && rest.length > 0 && (
        <dl className="jp-Postdoc-Fields">
          {rest.map(([name, value]) => (
            <React.Fragment key={name}>
              <dt>{name}</dt>
              <dd>{exposed(typeof value === 'string' ? value : JSON.stringify(value))}</dd>
            </React.Fragment>
          ))}
        </dl>
      )}
      {tool.status === 'cut' && (
        <p>{trans.__('This call was cut off. Nothing says that it was carried out.')}</p>
      )}
      {tool.output.trim() !== '' && (tool.status === 'failed' ? cellErrors : tool.cells.length === 0) && (
        <Output
          text={tool.output}
          label={trans.__('Output')}
          more={
            tool.truncated && blob !== null
              ? async () => wholeOutput(await client.blob(session, blob))
              : undefined
          }
        />
      )}
      {tool.name.startsWith('nb_') && notebook !== null && openNotebook !== undefined && (
        <Button kind="link" onClick={() => openNotebook.call(platform, notebook)}>
          {trans.__('Open notebook')}
        </Button>
      )}
      {!tool.name.startsWith('nb_') && path !== '' && notebook !== null && openFile !== undefined && (
        <Button
          kind="link"
          onClick={() => openFile.call(platform, `${notebook.replace(/[^/]*$/, '')}${path}`)}
        >
          {trans.__('Open file')}
        </Button>
      )}
    </div>
  );
}

/** The line, and below it what needs to be seen without asking: pictures, cells, errors. */
export const ToolRow = memo(function ToolRow({
  tool,
  session,
  items,
  notebook,
  children
}: Props & { notebook: string | null }) {
  const trans = useTrans();
  const [open, setOpen] = useState(false);
  const words: Record<ToolItem['status'], string> = {
    writing: trans.__('being written'),
    asked: trans.__('waiting'),
    running: trans.__('running'),
    ok: trans.__('done'),
    failed: trans.__('failed'),
    cut: trans.__('not carried out')
  };
  const counts = useMemo(() => {
    const changes = tool.status === 'writing' ? null : changesOf(tool, items);
    return changes === null ? null : countsOf(changes);
    // What stood there before does not change once the call was made.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [tool.input, tool.name]);
  return (
    <div className={`jp-Postdoc-Tool jp-mod-${tool.status}`}>
      <Disclosure
        open={open}
        onToggle={setOpen}
        summary={
          <>
            <Icon name={toolIcon(tool.name)} />
            <span className="jp-Postdoc-Tool-title" title={tool.title}>
              {tool.title || nameInWords(trans, tool.name)}
            </span>
            {counts !== null && (counts.added > 0 || counts.removed > 0) && (
              <span className="jp-Postdoc-Tool-counts">
                {counts.added > 0 && `+${counts.added} `}
                {counts.removed > 0 && `−${counts.removed}`}
              </span>
            )}
            <span className="jp-Postdoc-Tool-note">
              {tool.status === 'writing' && tool.inputText.length > 0
                ? trans.__('writing, %1 characters', tool.inputText.length)
                : [
                    tool.cells.length > 0 ? trans._n('%1 cell', '%1 cells', tool.cells.length) : '',
                    tool.status !== 'ok'
                      ? words[tool.status]
                      : tool.durationMs !== null && tool.durationMs >= NOTABLE_MS
                        ? duration(tool.durationMs, trans)
                        : ''
                  ]
                    .filter(Boolean)
                    .join(' · ')}
            </span>
            <Icon name={STATES[tool.status]} className={`jp-Postdoc-Tool-state jp-mod-${tool.status}`} />
            {tool.status === 'ok' && <span className="jp-Postdoc-hidden">{words.ok}</span>}
          </>
        }
      >
        <Details tool={tool} session={session} items={items} notebook={notebook} />
      </Disclosure>
      {tool.status === 'running' && tool.output !== '' && tool.cells.length === 0 && (
        <div className="jp-Postdoc-Tool-live">
          <pre aria-hidden="true">{lastLines(tool.output)}</pre>
        </div>
      )}
      {tool.status === 'failed' && !tool.cells.some(cell => cell.error !== null) && (
        <div className="jp-Postdoc-ErrorBox">
          <Output text={tool.output} tail label={trans.__('Error of %1', tool.title || tool.name)} />
        </div>
      )}
      {tool.images.map(image => (
        <Picture
          key={image.blob}
          session={session}
          blob={image.blob}
          mediaType={image.mediaType ?? 'image/png'}
          title={image.title ?? ''}
        />
      ))}
      {tool.cells.length > 0 && <Cells cells={tool.cells} session={session} />}
      {children}
    </div>
  );
});
