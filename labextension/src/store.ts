/** The state of this client, and how it changes. */
import type { State } from './model';

/** Read-only for the views; only the client changes it. */
export interface Store {
  getState(): State;
  subscribe(listener: () => void): () => void;
}
