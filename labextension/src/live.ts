/** A client and the state that it keeps up to date. */
import type { Client, Server } from './client';
import type { Options } from './client/live';
import { LiveClient } from './client/live';
import type { Store } from './store';
import { LiveStore } from './store';

/** `setFlush`: milliseconds between two publications of streamed text. */
export interface Live {
  client: Client;
  store: Store;
  setFlush(ms: number): void;
}

/** Not yet connected: call `client.start()`. */
export function createClient(server: Server, options?: Options): Live {
  const store = new LiveStore();
  return { client: new LiveClient(server, store, options), store, setFlush: ms => (store.flushMs = ms) };
}
