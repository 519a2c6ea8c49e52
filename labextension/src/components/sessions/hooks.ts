/** Time for the list. */
import { useEffect, useState } from 'react';

const MINUTE = 60_000;

/** The time in milliseconds, anew each minute. */
export function useMinute(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), MINUTE);
    return () => window.clearInterval(timer);
  }, []);
  return now;
}

/** True once `ms` milliseconds have passed with `on` true. */
export function useAfter(on: boolean, ms: number): boolean {
  const [passed, setPassed] = useState(false);
  useEffect(() => {
    setPassed(false);
    if (!on) {
      return;
    }
    const timer = window.setTimeout(() => setPassed(true), ms);
    return () => window.clearTimeout(timer);
  }, [on, ms]);
  return on && passed;
}
