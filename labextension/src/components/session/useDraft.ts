/** What is being typed, kept per session. */
import { useCallback, useEffect, useRef, useState } from 'react';

import { usePlatform } from '../../platform';

const PAUSE_MS = 400;

/** The draft, how to change it, and how to forget it once it was sent. */
export function useDraft(session: string): [string, (text: string) => void, () => void] {
  const { memory } = usePlatform();
  const key = `draft:${session}`;
  const [text, setText] = useState('');
  const touched = useRef(false);
  const timer = useRef<number | null>(null);
  const pending = useRef<string | null>(null);

  const save = useCallback(() => {
    if (timer.current !== null) {
      window.clearTimeout(timer.current);
      timer.current = null;
    }
    if (pending.current !== null) {
      void memory.set(key, pending.current);
      pending.current = null;
    }
  }, [memory, key]);

  useEffect(() => {
    let alive = true;
    touched.current = false;
    setText('');
    void memory.get(key).then(value => {
      if (alive && !touched.current && typeof value === 'string') {
        setText(value);
      }
    });
    return () => {
      alive = false;
      save(); // whoever leaves in the middle of a word finds it again
    };
  }, [memory, key, save]);

  const change = useCallback(
    (value: string) => {
      touched.current = true;
      setText(value);
      pending.current = value;
      if (timer.current !== null) {
        window.clearTimeout(timer.current);
      }
      timer.current = window.setTimeout(save, PAUSE_MS);
    },
    [save]
  );

  const clear = useCallback(() => {
    touched.current = true;
    setText('');
    pending.current = '';
    save();
  }, [save]);

  return [text, change, clear];
}
