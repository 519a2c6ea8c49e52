/** Everything that happened in a session, in order. */
import React, { memo, useMemo, useRef } from 'react';

import { duration } from '../../format';
import type { ErrorItem, Item, ResultItem, SessionView, ToolItem } from '../../model';
import { useSettings, useTrans } from '../../platform';
import { hasPlace, publicationPlace } from '../publish/place';
import { PublicationCard } from '../publish/PublicationCard';
import { PublicationRow } from '../publish/PublicationRow';
import { Disclosure, Icon } from '../ui';
import { CheckpointRow, NoticeRow } from './Marks';
import { ProjectContext } from './MarkdownText';
import { ErrorCard, ResultCard } from './Outcome';
import { ApprovalCard, QuestionCard } from './Requests';
import type { FoldRow, ItemRow, Row } from './rows';
import { RowMaker } from './rows';
import { TextRow, ThinkingRow, UserRow } from './Talk';
import { ToolRow } from './ToolRow';

interface Props {
  session: SessionView;
  /** How many rows are there at most; the newest ones. */
  limit?: number;
}

export const MOUNTED = 200;
const AT_WORK: ReadonlySet<SessionView['status']> = new Set<SessionView['status']>([
  'queued',
  'starting',
  'running',
  'waiting',
  'paused',
  'stopping'
]);

/** How many rows a session has, so that its owner knows whether there are more than are shown. */
export function rowCount(session: SessionView): number {
  return session.items.length;
}

export function Timeline({ session, limit = MOUNTED }: Props): JSX.Element {
  const trans = useTrans();
  const { foldToolCalls } = useSettings();
  const maker = useRef<RowMaker | null>(null);
  maker.current ??= new RowMaker();
  const { items } = session;
  const rows = useMemo(
    () => (maker.current as RowMaker).make(items.length > limit ? items.slice(-limit) : items, foldToolCalls),
    [items, limit, foldToolCalls]
  );
  // Rows look up what came before them; they are not rendered again because something came after.
  const latest = useRef(items);
  latest.current = items;
  // While something is at work there is nothing to try again and nothing to follow up.
  const idle = !AT_WORK.has(session.status);
  const newestEnd = useMemo(() => (idle ? newestOutcome(items) : null), [items, idle]);
  const publishAt = useMemo(() => publicationPlace(items), [items]);
  const placed = rows.some(row => row.key === publishAt?.key);
  const published = hasPlace(session) ? (
    <PublicationCard
      key="publication"
      session={session.id}
      follows={!idle && publishAt?.followedBy != null}
    />
  ) : null;
  const notebook = session.artifacts.notebook?.path ?? null;
  const project = useRef<string | null>(null);
  project.current = session.artifacts.repo?.path ?? null;
  return (
    <ProjectContext.Provider value={project}>
      <div className="jp-Postdoc-Timeline" role="log" aria-live="off" aria-label={trans.__('What happened')}>
        {rows.map(row => (
          <React.Fragment key={row.key}>
            <TimelineRow
              row={row}
              session={session.id}
              latest={latest}
              notebook={notebook}
              tool={
                row.kind === 'item' && row.item.kind === 'approval' ? toolOf(items, row.item.toolId) : null
              }
              // These change seldom and matter to one row only; all others get the same nothing.
              view={row.key === newestEnd || isResult(row) ? session.artifacts : null}
              newest={row.key === newestEnd}
              title={isResult(row) ? (session.title ?? '') : ''}
            />
            {row.key === publishAt?.key && published}
          </React.Fragment>
        ))}
        {!placed && published}
      </div>
    </ProjectContext.Provider>
  );
}

function isResult(row: Row): boolean {
  return row.kind === 'item' && row.item.kind === 'result';
}

/** The key of the last result or error, when nothing was said after it; of a failed run, its error. */
function newestOutcome(items: readonly Item[]): string | null {
  for (let i = items.length - 1; i >= 0; i--) {
    const item = items[i] as Item;
    if (
      item.kind === 'publication' ||
      ((item.kind === 'result' || item.kind === 'error') && item.publishing)
    ) {
      continue; // what came of the work is still the newest outcome when it was published
    }
    if (item.kind === 'result') {
      return errorOf(items, i)?.key ?? item.key;
    }
    if (item.kind === 'error') {
      return item.key;
    }
    if (
      item.kind === 'user' ||
      item.kind === 'text' ||
      item.kind === 'tool' ||
      (item.kind === 'notice' && item.notice === 'resumed')
    ) {
      return null;
    }
  }
  return null;
}

/** What went wrong, when the result at `at` is the end of a run that failed. */
function errorOf(items: readonly Item[], at: number): ErrorItem | null {
  const before = items[at - 1];
  const result = items[at];
  return before?.kind === 'error' && result?.kind === 'result' && !result.success ? before : null;
}

/** Whether the card above says already what this result says. */
function isToldAbove(items: readonly Item[], item: ResultItem): boolean {
  const error = errorOf(items, items.indexOf(item));
  return error !== null && (item.summary === '' || item.summary === error.error);
}

function toolOf(items: readonly Item[], toolId: string | undefined): ToolItem | null {
  if (toolId === undefined) {
    return null;
  }
  const found = items.find(item => item.kind === 'tool' && item.toolId === toolId);
  return found?.kind === 'tool' ? found : null;
}

interface RowProps {
  row: Row;
  session: string;
  latest: React.RefObject<readonly Item[]>;
  notebook: string | null;
  tool: ToolItem | null;
  view: SessionView['artifacts'] | null;
  newest: boolean;
  title: string;
}

const NO_ARTIFACTS = {};

const TimelineRow = memo(function TimelineRow(props: RowProps) {
  const { row } = props;
  return (
    <div
      className="jp-Postdoc-Item"
      data-item={row.kind === 'fold' ? 'fold' : row.item.kind}
      data-key={row.key}
    >
      {row.kind === 'fold' ? <Fold row={row} props={props} /> : <One row={row} props={props} />}
    </div>
  );
});

function Fold({ row, props }: { row: FoldRow; props: RowProps }): JSX.Element {
  const trans = useTrans();
  const { session, latest, notebook } = props;
  return (
    <Disclosure
      className="jp-Postdoc-Fold"
      summary={
        <>
          <Icon name="check" className="jp-Postdoc-Tool-state jp-mod-ok" />
          <span>{trans.__('Ran %1 steps · %2', row.tools.length, duration(row.ms, trans))}</span>
        </>
      }
    >
      {row.tools.map(tool => (
        <ToolRow
          key={tool.key}
          tool={tool}
          session={session}
          items={latest.current ?? []}
          notebook={notebook}
        />
      ))}
    </Disclosure>
  );
}

function One({ row, props }: { row: ItemRow; props: RowProps }): JSX.Element | null {
  const { item } = row;
  const { session, latest, notebook, newest, title } = props;
  switch (item.kind) {
    case 'user':
      return <UserRow item={item} session={session} />;
    case 'text':
      return <TextRow item={item} />;
    case 'thinking':
      return <ThinkingRow item={item} />;
    case 'tool':
      return (
        <ToolRow tool={item} session={session} items={latest.current ?? []} notebook={notebook}>
          {row.children.length > 0 && (
            <div className="jp-Postdoc-Children">
              {row.children.map(child => (
                <ToolRow
                  key={child.key}
                  tool={child}
                  session={session}
                  items={latest.current ?? []}
                  notebook={notebook}
                />
              ))}
            </div>
          )}
        </ToolRow>
      );
    case 'question':
      return <QuestionCard item={item} session={session} />;
    case 'approval':
      return <ApprovalCard item={item} session={session} tool={props.tool} />;
    case 'checkpoint':
      return <CheckpointRow item={item} session={session} />;
    case 'notice':
      return <NoticeRow item={item} />;
    case 'publication':
      return <PublicationRow item={item} />;
    case 'result':
      return (
        <ResultCard
          item={item}
          session={session}
          title={title}
          artifacts={props.view ?? NO_ARTIFACTS}
          newest={newest}
          told={isToldAbove(latest.current ?? [], item)}
        />
      );
    case 'error':
      return <ErrorCard item={item} session={session} newest={newest} kept={keptOf(props.view)} />;
  }
}

/** What a failed run has left, in the words of its paths. */
function keptOf(artifacts: SessionView['artifacts'] | null): string | null {
  const paths = [artifacts?.notebook?.path, artifacts?.repo?.path].filter(path => path);
  return paths.length > 0 ? paths.join(', ') : null;
}
