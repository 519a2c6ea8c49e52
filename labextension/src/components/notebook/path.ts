/** Which file a session's notebook is, and which session's a file is. */
import type { State } from '../../model';
import { useSelected } from '../../platform';

/** Where the notebook's file is, below the server's root; "" when nobody knows. */
export function pathOfNotebook(state: State, session: string): string {
  const made = state.views[session]?.artifacts.notebook?.path;
  const path = made ?? state.sessions?.[session]?.project?.notebook;
  return typeof path === 'string' ? path : '';
}

export function useNotebookPath(session: string): string {
  return useSelected(state => pathOfNotebook(state, session));
}

/** The session whose notebook the file is: the one that is meant where several have it; null for any other file. */
export function sessionOfNotebook(state: State, path: string, meant: string | null): string | null {
  if (path === '') {
    return null;
  }
  if (meant !== null && pathOfNotebook(state, meant) === path) {
    return meant;
  }
  const all = new Set([...Object.keys(state.sessions ?? {}), ...Object.keys(state.views)]);
  return [...all].find(id => pathOfNotebook(state, id) === path) ?? null;
}
