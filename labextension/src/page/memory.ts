/** What this browser remembers for the page: drafts, what was seen, what was chosen. */
import type { Memory } from '../platform';

const PREFIX = 'postdoc:';

/** At once, for what has to be known before anything is drawn. `undefined`: nothing, nothing readable, or forbidden. */
export function recall(key: string): unknown {
  try {
    const text = window.localStorage.getItem(PREFIX + key);
    return text === null ? undefined : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}

/** Whether it is kept; not where storage is full or forbidden. */
export function keep(key: string, value: unknown): boolean {
  try {
    window.localStorage.setItem(PREFIX + key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** Remembers in this browser; where that is not possible, as long as the page is open. */
export function pageMemory(): Memory {
  const own = new Map<string, unknown>();
  return {
    get: async key => (own.has(key) ? own.get(key) : recall(key)),
    set: async (key, value) => {
      // What is stored is read again each time: another tab may have changed it.
      if (keep(key, value)) {
        own.delete(key);
      } else {
        own.set(key, value);
      }
    }
  };
}
