/** The order in which one goes from session to session: newest first, without the archive. */
import type { State } from '../model';

/** The session after (1) or before (-1) `id`; at an end it goes on at the other. Null: there are none. */
export function neighbour(state: State, id: string | null, by: 1 | -1): string | null {
  const ids = Object.values(state.sessions ?? {})
    .filter(session => !session.archived)
    .sort((a, b) => b.updatedAt.localeCompare(a.updatedAt))
    .map(session => session.id);
  const at = id === null ? -1 : ids.indexOf(id);
  if (at < 0) {
    return (by === 1 ? ids[0] : ids[ids.length - 1]) ?? null;
  }
  return ids[(at + by + ids.length) % ids.length] ?? null;
}
