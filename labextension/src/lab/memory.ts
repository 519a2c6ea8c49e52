/** Small things that are remembered: in JupyterLab's state database, or in the browser where there is none. */
import type { IStateDB } from '@jupyterlab/statedb';
import type { ReadonlyPartialJSONValue } from '@lumino/coreutils';

import type { Memory } from '../platform';

const PREFIX = 'jupyterlab-postdoc:';

export function createMemory(state: IStateDB | null): Memory {
  return state === null ? browserMemory() : stateMemory(state);
}

function stateMemory(state: IStateDB): Memory {
  return {
    get: key => state.fetch(PREFIX + key),
    set: async (key, value) => {
      if (value === undefined || value === null) {
        await state.remove(PREFIX + key);
      } else {
        await state.save(PREFIX + key, value as ReadonlyPartialJSONValue);
      }
    }
  };
}

function browserMemory(): Memory {
  return {
    get: async key => {
      try {
        return JSON.parse(localStorage.getItem(PREFIX + key) ?? 'null') ?? undefined;
      } catch {
        return undefined; // storage is switched off, or holds something else
      }
    },
    set: async (key, value) => {
      try {
        if (value === undefined || value === null) {
          localStorage.removeItem(PREFIX + key);
        } else {
          localStorage.setItem(PREFIX + key, JSON.stringify(value));
        }
      } catch {
        // Full or switched off: nothing that is kept here is worth an error.
      }
    }
  };
}
