/** A session in plain text, for a question to a colleague or a report of a fault. It holds no content of the work. */
import { money } from '../format';
import type { ChatInfo, SessionView } from '../model';

/** Unknown parts are left out. `server` is its version. */
export function summarise(info: ChatInfo, view: SessionView | null, server: string | null): string {
  const failed = view === null ? undefined : [...view.items].reverse().find(item => item.kind === 'error');
  const spent = money(view?.spent.cost ?? info.cost);
  const lines: [string, string | null | undefined][] = [
    ['Session', info.title],
    ['Id', info.id],
    ['State', info.reason === null ? info.state : `${info.state} (${info.reason})`],
    ['Template', info.template],
    ['Model', info.model ?? info.provider],
    ['Persona', info.persona],
    ['Cost', spent],
    ['Created', info.createdAt],
    ['Changed', info.updatedAt],
    ['Events', String(info.lastSeq)],
    ['Run', view?.runId],
    ['Error', failed && `${failed.code}: ${failed.error}`],
    ['Next', failed?.next],
    ['Reference', failed?.ref],
    ['Repository', text(info.project?.['path'])],
    ['Commit', text(info.project?.['commit'])],
    ['Server', server]
  ];
  return lines.flatMap(([name, value]) => (value ? [`${name}: ${value}`] : [])).join('\n');
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}
