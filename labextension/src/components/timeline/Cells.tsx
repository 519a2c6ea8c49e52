/** The notebook cells that a call ran: what failed first, then what has something to show. */
import React, { memo } from 'react';

import { duration } from '../../format';
import type { CellItem, CellOutput } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import type { IconName } from '../ui';
import { Button, Disclosure, Icon } from '../ui';
import { Output } from './Code';
import { MarkdownText } from './MarkdownText';
import { Picture } from './Picture';

const ICONS: Record<string, IconName> = {
  ok: 'check',
  error: 'error',
  running: 'spinner',
  queued: 'clock',
  skipped: 'square',
  stale: 'refresh'
};

/** JSON as a person reads it; what is none stays as it is. */
function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** One output of a cell: a picture, a table, or text (of HTML the server sends the text only). */
function OutputPart({
  output,
  session,
  cell
}: {
  output: CellOutput;
  session: string;
  cell: string;
}): JSX.Element {
  const trans = useTrans();
  const { text } = output;
  return (
    <>
      {output.blob && (
        <Picture
          session={session}
          blob={output.blob}
          mediaType={output.mediaType ?? 'image/png'}
          title={cell}
        />
      )}
      {output.columns && output.rows ? (
        <div
          className="jp-Postdoc-Table"
          tabIndex={0}
          role="region"
          aria-label={trans.__('Table of %1', cell)}
        >
          <table>
            <thead>
              <tr>
                {output.columns.map((name, index) => (
                  <th key={index} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {output.rows.map((row, index) => (
                <tr key={index}>
                  {row.map((value, at) => (
                    <td key={at}>{value}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : output.kind === 'image' && /^image\/[\w.+-]+$/.test(text) ? (
        !output.blob && <p>{trans.__('A picture; it is in the report.')}</p>
      ) : text.trim() === '' ? null : output.kind === 'markdown' ? (
        <MarkdownText source={text} />
      ) : output.kind === 'html' ? (
        <div
          className="jp-Postdoc-Prose"
          tabIndex={0}
          role="region"
          aria-label={trans.__('Output of %1', cell)}
        >
          {text.replace(/\n{2,}/g, '\n')}
        </div>
      ) : (
        <Output
          text={output.kind === 'json' ? indented(text) : text}
          label={trans.__('Output of %1', cell)}
        />
      )}
    </>
  );
}

const CellRow = memo(function CellRow({ cell, session }: { cell: CellItem; session: string }) {
  const platform = usePlatform();
  const trans = useTrans();
  const { openNotebook } = platform;
  const states: Record<string, string> = {
    ok: trans.__('done'),
    error: trans.__('failed'),
    running: trans.__('running'),
    queued: trans.__('queued'),
    skipped: trans.__('skipped'),
    stale: trans.__('out of date')
  };
  const head = (
    <>
      <Icon name={ICONS[cell.status] ?? 'help'} className={`jp-Postdoc-CellState jp-mod-${cell.status}`} />
      <code>{cell.cell}</code>
      <span className="jp-Postdoc-Tool-note">
        {states[cell.status] ?? cell.status}
        {cell.durationMs !== null && cell.durationMs >= 100 && ` · ${duration(cell.durationMs, trans)}`}
      </span>
    </>
  );
  return (
    <div className={`jp-Postdoc-Cell jp-mod-${cell.status}`}>
      <div className="jp-Postdoc-Cell-head">
        {head}
        {openNotebook !== undefined && (cell.status === 'error' || cell.outputs.length > 0) && (
          <Button kind="link" onClick={() => openNotebook.call(platform, cell.notebook, cell.cell)}>
            {trans.__('Open in notebook')}
          </Button>
        )}
      </div>
      {cell.error !== null && (
        <div className="jp-Postdoc-ErrorBox">
          <Output text={cell.error} tail label={trans.__('Error of %1', cell.cell)} />
        </div>
      )}
      {cell.outputs.length > 0 && (
        <div className="jp-Postdoc-Cell-outputs">
          {cell.outputs.map((output, index) => (
            <OutputPart key={index} output={output} session={session} cell={cell.cell} />
          ))}
        </div>
      )}
    </div>
  );
});

/** All of them, in short. `live`: the run goes on. */
export const Cells = memo(function Cells({
  cells,
  session
}: {
  cells: readonly CellItem[];
  session: string;
}) {
  const trans = useTrans();
  const failed = cells.filter(cell => cell.status === 'error');
  const running = cells.filter(cell => cell.status === 'running');
  const shown = cells.filter(
    cell => cell.status !== 'error' && cell.status !== 'running' && cell.outputs.length > 0
  );
  const pictures = shown.filter(cell => cell.outputs.some(output => output.blob));
  const quiet = cells.filter(
    cell => !failed.includes(cell) && !shown.includes(cell) && !running.includes(cell)
  );
  const done = cells.filter(cell => cell.status === 'ok').length;
  return (
    <div className="jp-Postdoc-Cells">
      {failed.map(cell => (
        <CellRow key={cell.cell} cell={cell} session={session} />
      ))}
      {pictures.map(cell => (
        <CellRow key={cell.cell} cell={cell} session={session} />
      ))}
      {shown.length > pictures.length && (
        <Disclosure
          summary={trans._n('%1 cell with output', '%1 cells with output', shown.length - pictures.length)}
        >
          {shown
            .filter(cell => !pictures.includes(cell))
            .map(cell => (
              <CellRow key={cell.cell} cell={cell} session={session} />
            ))}
        </Disclosure>
      )}
      {quiet.length > 0 && (
        <Disclosure
          className="jp-Postdoc-QuietCells"
          summary={trans._n('%1 cell without output', '%1 cells without output', quiet.length)}
        >
          {quiet.map(cell => (
            <CellRow key={cell.cell} cell={cell} session={session} />
          ))}
        </Disclosure>
      )}
      {running.map(cell => (
        <CellRow key={cell.cell} cell={cell} session={session} />
      ))}
      <p className="jp-Postdoc-hidden">{trans.__('%1 of %2 cells done', done, cells.length)}</p>
    </div>
  );
});
