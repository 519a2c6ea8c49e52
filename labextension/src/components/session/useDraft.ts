/** What is being typed, kept per session. */
import { useCallback, useEffect, useRef, useState } from 'react';

import { usePlatform } from '../../platform';

const PAUSE_MS = 400;

export interface Draft {
  readonly text: string;
  change(text: string): void;
  /** Empty the box, because it is being sent. It is remembered until {@link Draft.sent}: a crash loses nothing. */
  take(): void;
  /** What was taken is with the server. */
  sent(): void;
}

/** The draft of a session. `elsewhere` says that a text is shown as a message that was not sent. */
export function useDraft(session: string, elsewhere: (text: string) => boolean): Draft {
  const { memory } = usePlatform();
  const key = `draft:${session}`;
  const [text, setText] = useState('');
  const touched = useRef(false);
  const timer = useRef<number | null>(null);
  const pending = useRef<string | null>(null);
  /** The box is empty because its text was taken, and nothing was typed since. */
  const taken = useRef(false);
  const known = useRef(elsewhere);
  known.current = elsewhere;

  const save = useCallback(() => {
    if (timer.current !== null) {
      window.clearTimeout(timer.current);
      timer.current = null;
    }
    if (pending.current !== null) {
      void memory.set(key, pending.current).catch(() => undefined);
      pending.current = null;
    }
  }, [memory, key]);

  useEffect(() => {
    let alive = true;
    touched.current = false;
    setText('');
    memory.get(key).then(
      value => {
        if (alive && !touched.current && typeof value === 'string' && !known.current(value)) {
          setText(value);
        }
      },
      () => undefined
    );
    return () => {
      alive = false;
      save(); // whoever leaves in the middle of a word finds it again
    };
  }, [memory, key, save]);

  const change = useCallback(
    (value: string) => {
      touched.current = true;
      taken.current = false;
      setText(value);
      pending.current = value;
      if (timer.current !== null) {
        window.clearTimeout(timer.current);
      }
      timer.current = window.setTimeout(save, PAUSE_MS);
    },
    [save]
  );

  const take = useCallback(() => {
    save();
    touched.current = true;
    setText('');
    taken.current = true;
  }, [save]);

  const sent = useCallback(() => {
    // Who has typed on meanwhile has a draft again, which is saved already or about to be.
    if (taken.current) {
      taken.current = false;
      void memory.set(key, '').catch(() => undefined);
    }
  }, [memory, key]);

  return { text, change, take, sent };
}
