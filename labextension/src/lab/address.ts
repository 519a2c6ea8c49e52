/** The page that shows sessions without JupyterLab. */
import type { Client } from '../client';

/** Its address; with `session` it opens at that one. */
export function sessionAddress(client: Client, session: string): string {
  return client.url(session === '' ? '' : `?session=${encodeURIComponent(session)}`);
}
