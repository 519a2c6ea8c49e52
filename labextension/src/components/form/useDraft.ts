/** The draft of a new research: loaded once, merged with what the route brings, kept while it changes. */
import { useCallback, useEffect, useRef, useState } from 'react';

import type { Route } from '../../navigation';
import { usePlatform } from '../../platform';
import type { Draft } from './draft';
import { DRAFT_KEY, draftFrom, emptyDraft, withContext, worthKeeping } from './draft';

export type NewRoute = Extract<Route, { view: 'new' }>;

const SAVE_MS = 300;

interface DraftState {
  draft: Draft;
  change: (change: Partial<Draft>) => void;
  /** Another draft that the route's topic has put aside; `bringBack` swaps them. */
  aside: Draft | null;
  bringBack: () => void;
  /** The text comes from an earlier visit. */
  restored: boolean;
  startOver: () => void;
  /** The research has begun: forget it. */
  done: () => void;
}

/** What the route brings, put into a draft that was kept. */
export function begin(kept: Draft | null, route: NewRoute): { draft: Draft; aside: Draft | null } {
  const fresh = route.topic?.trim() ? route.topic : undefined;
  const other =
    kept !== null && fresh !== undefined && worthKeeping(kept) && kept.topic.trim() !== fresh.trim();
  const base = kept === null || other ? emptyDraft() : kept;
  return {
    draft: {
      ...base,
      ...(fresh === undefined ? {} : { topic: fresh }),
      ...(route.template === undefined ? {} : { template: route.template, open: true }),
      context: withContext(base.context, route.context ?? [])
    },
    aside: other ? kept : null
  };
}

export function useDraft(route: NewRoute): DraftState {
  const { memory } = usePlatform();
  const [draft, setDraft] = useState<Draft>(() => begin(null, route).draft);
  const [aside, setAside] = useState<Draft | null>(null);
  const [restored, setRestored] = useState(false);
  const touched = useRef(false);
  const latest = useRef(draft);
  latest.current = draft;

  useEffect(() => {
    let here = true;
    void memory.get(DRAFT_KEY).then(
      stored => {
        if (here && !touched.current) {
          const kept = draftFrom(stored);
          const started = begin(kept, route);
          setDraft(started.draft);
          setAside(started.aside);
          setRestored(kept !== null && started.aside === null && worthKeeping(kept));
        }
      },
      () => undefined // nothing kept: the form is empty
    );
    return () => {
      here = false;
    };
    // A route is a new object for each request: asking again merges again.
  }, [memory, route]);

  const save = useCallback(() => {
    if (touched.current) {
      void memory.set(DRAFT_KEY, latest.current).catch(() => undefined);
    }
  }, [memory]);

  useEffect(() => {
    const timer = window.setTimeout(save, SAVE_MS);
    return () => window.clearTimeout(timer);
  }, [draft, save]);
  useEffect(() => save, [save]);

  const replace = useCallback((next: Draft) => {
    touched.current = true;
    setDraft(next);
  }, []);
  const change = useCallback((changes: Partial<Draft>) => {
    touched.current = true;
    setDraft(known => ({ ...known, ...changes }));
  }, []);
  return {
    draft,
    change,
    aside,
    bringBack: useCallback(() => {
      if (aside !== null) {
        replace(aside);
        setAside(null);
      }
    }, [aside, replace]),
    restored,
    startOver: useCallback(() => {
      replace(emptyDraft());
      setRestored(false);
    }, [replace]),
    done: useCallback(() => {
      touched.current = false;
      void memory.set(DRAFT_KEY, null).catch(() => undefined);
    }, [memory])
  };
}
