/** The setting "Open notebooks": the notebook of a research opens as soon as it is there. */
import type { State } from '../model';
import type { Store } from '../store';
import type { Places } from './places';
import type { LiveSettings } from './settings';

/** Remembers which sessions have a notebook. Those of the first list are history. */
export class NotebookLog {
  private known: Set<string> | null = null;

  /** The sessions that have got their notebook since the last time, and where it is. */
  read(sessions: State['sessions']): { session: string; path: string }[] {
    if (sessions === null) {
      return [];
    }
    const first = this.known === null;
    const known = (this.known ??= new Set());
    const made: { session: string; path: string }[] = [];
    for (const { id, project } of Object.values(sessions)) {
      const path = project?.['notebook'];
      if (typeof path === 'string' && path !== '' && !known.has(id)) {
        known.add(id);
        if (!first) {
          made.push({ session: id, path });
        }
      }
    }
    return made;
  }
}

/** Opens notebooks of sessions that are in view; what others start opens nothing. Call the result to end it. */
export function openNotebooks(
  { store, settings, places }: { store: Store; settings: LiveSettings; places: Places },
  open: (session: string, path: string) => void
): () => void {
  const log = new NotebookLog();
  let last: State['sessions'] = null;
  const read = () => {
    const { sessions } = store.getState();
    if (sessions === last) {
      return;
    }
    last = sessions;
    for (const { session, path } of log.read(sessions)) {
      if (settings.get().autoOpenNotebook && places.shows(session)) {
        open(session, path);
      }
    }
  };
  read();
  return store.subscribe(read);
}
