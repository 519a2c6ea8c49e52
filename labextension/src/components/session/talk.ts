/** Whether there is a model to talk to: what leads to the composer is shown only then. */
import { createContext, useContext } from 'react';

const Context = createContext(true);

export const TalkProvider = Context.Provider;

/** True where nobody knows better. */
export function useTalk(): boolean {
  return useContext(Context);
}
