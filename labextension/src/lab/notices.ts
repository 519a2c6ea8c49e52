/** What of all changes of sessions deserves a notification. */
import { listed } from '../components/sessions/order';
import type { ChatInfo } from '../model';
import type { Settings } from '../platform';

export type NoticeKind = Settings['notifyOn'][number];

/** Something the user wants to hear of. */
export interface Notice {
  readonly kind: NoticeKind;
  readonly session: ChatInfo;
}

type Sessions = Readonly<Record<string, ChatInfo>>;

/** States in which the server works on a session, or will without anybody doing anything. */
const BUSY = new Set(['queued', 'starting', 'running', 'stopping']);
const WAITING = new Set(['waiting', 'paused']);

export function isBusy(session: ChatInfo): boolean {
  return BUSY.has(session.state);
}

export function isWaiting(session: ChatInfo): boolean {
  return WAITING.has(session.state);
}

interface Known {
  readonly state: string;
  readonly needs: number;
  readonly version: number;
  /** What was at work only published. */
  readonly publishing: boolean;
}

/**
 * Remembers the last list and says what is new in the next. The first list is history. After a reconnection the server
 * sends the list again: what changed meanwhile is told, what did not is not told twice. Versions only grow, so that an
 * older list that comes late says nothing.
 */
export class NoticeLog {
  private last: Map<string, Known> | null = null;

  /** The news of `sessions`, in the order of their last change. Null (no list yet, or none for now): none. */
  read(sessions: Sessions | null): Notice[] {
    if (sessions === null) {
      return [];
    }
    const before = this.last;
    const after = new Map<string, Known>();
    const news: Notice[] = [];
    for (const session of listed(sessions)) {
      const known = before?.get(session.id);
      if (known !== undefined && known.version > session.version) {
        after.set(session.id, known);
        continue;
      }
      const { state, needs, version } = session;
      const publishing =
        session.publication?.state === 'publishing' || (known?.publishing === true && isBusy(session));
      after.set(session.id, {
        state,
        needs,
        version,
        publishing
      });
      const kind = known === undefined ? null : change(known, session);
      if (kind !== null) {
        news.push({ kind, session });
      }
    }
    // A session that is gone from the list (archived, say) may come back: it is still known then.
    before?.forEach((known, id) => after.has(id) || after.set(id, known));
    this.last = after;
    return news.sort((a, b) => a.session.updatedAt.localeCompare(b.session.updatedAt));
  }
}

function change(known: Known, session: ChatInfo): NoticeKind | null {
  if (isWaiting(session)) {
    if (session.reason === 'taken_over' && session.needs <= known.needs) {
      return null; // it waits for who has taken the notebook: they know
    }
    const asked = !WAITING.has(known.state) || session.needs > known.needs;
    return asked ? 'waiting' : null;
  }
  if (known.state === session.state || !(BUSY.has(known.state) || WAITING.has(known.state))) {
    return null;
  }
  if (known.publishing) {
    return null; // the session is again what it was before: that was told then
  }
  switch (session.state) {
    case 'finished':
      return 'finished';
    case 'error':
    case 'interrupted':
      return 'error';
    default:
      return null; // stopped: the user did that
  }
}
