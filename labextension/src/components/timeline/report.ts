/** A failure as text for whoever is asked for help. */
import type { ErrorItem, Item, SessionView } from '../../model';

const LAST = 15;

/** What failed, and the lines that led to it. It holds no input and no output of tools: these may be private. */
export function reportOf(error: ErrorItem | null, view: SessionView | undefined): string {
  const lines = [
    'Postdoc: report of a session',
    `session: ${view?.id ?? '?'}`,
    `state: ${view?.status ?? '?'}${view?.reason ? ` (${view.reason})` : ''}`,
    `last event: ${view?.lastSeq ?? '?'}`
  ];
  if (error !== null) {
    lines.push(`error: ${error.code}: ${error.error}`, ...(error.ref ? [`server log: ${error.ref}`] : []));
  }
  lines.push('', 'What happened last:', ...(view?.items ?? []).slice(-LAST).map(line));
  return `${lines.join('\n')}\n`;
}

function line(item: Item): string {
  const when = item.at === null ? '' : `${new Date(item.at).toISOString()} `;
  switch (item.kind) {
    case 'tool':
      return `${when}#${item.seq} tool ${item.name}: ${item.status}`;
    case 'error':
      return `${when}#${item.seq} error ${item.code}: ${item.error}`;
    case 'result':
      return `${when}#${item.seq} result: ${item.success ? 'success' : 'no success'} (${item.stopReason})`;
    case 'checkpoint':
      return `${when}#${item.seq} commit ${item.commit.slice(0, 8)} ${item.title}`;
    default:
      return `${when}#${item.seq} ${item.kind}`;
  }
}
