/** Files as the subject of a research. */
import type { Route } from '../navigation';

type NewRoute = Extract<Route, { view: 'new' }>;

/** What is chosen in the file browser; `path` is relative to the server's root. */
export interface Chosen {
  readonly path: string;
  readonly type: string;
}

const DATA = /\.(csv|tsv|parquet|xlsx)$/i;
const CODE = /\.(py|ipynb)$/i;

/** Whether an agent can do something with it: folders, tables, code. */
export function isSubject({ path, type }: Chosen): boolean {
  return type === 'directory' || DATA.test(path) || CODE.test(path);
}

/**
 * A form for a research about `chosen`, which the agent is told as context. One table alone is also the template's
 * data, where the chosen template takes any.
 */
export function aboutFiles(chosen: readonly Chosen[], key: string): NewRoute {
  const [first] = chosen;
  const table = chosen.length === 1 && first && DATA.test(first.path) ? first.path : null;
  return {
    view: 'new',
    ...(table === null ? {} : { params: { data: table } }),
    context: chosen.map(({ path, type }) => ({
      label: path.slice(path.lastIndexOf('/') + 1) || '/',
      text: type === 'directory' ? `${path}/` : path
    })),
    key
  };
}
