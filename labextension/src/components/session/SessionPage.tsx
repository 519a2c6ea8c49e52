/** One session: what it is about, how it is, what happened, and where to speak. */
import React, { useCallback, useEffect, useMemo, useRef, useState } from 'react';

import type { ChatInfo, SessionView } from '../../model';
import { useNavigation } from '../../navigation';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { HandBanner } from '../notebook';
import { Button, Empty, Icon } from '../ui';
import { againRoute } from './again';
import type { ComposerHandle } from './Composer';
import { Composer } from './Composer';
import type { HeadHandle } from './Head';
import { Head } from './Head';
import { Links } from './Links';
import { LiveLine, reasonOf } from './LiveLine';
import { useChoices } from './Pickers';
import { PlanCard } from './PlanCard';
import type { ScrollerHandle } from './Scroller';
import { Scroller } from './Scroller';
import { canTalk } from './Silent';
import { TalkProvider } from './talk';
import { troubleOf } from './trouble';

const PATIENCE_MS = 300;
const NOTE_MS = 3_000;
/** States in which a research question can be asked again. */
const ENDED = new Set(['finished', 'stopped', 'error']);

export function SessionPage({ id }: { id: string }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const navigation = useNavigation();
  const view = useSelected(state => state.views[id]);
  const info = useSelected(state => state.sessions?.[id]) ?? null;
  const [attempt, setAttempt] = useState(0);
  useEffect(() => client.open(id), [client, id, attempt]);
  const late = useLate(`${id}/${attempt}`);

  if (view === undefined || view.loaded === 'no' || view.loaded === 'loading') {
    return (
      <section className="jp-Postdoc-Session" aria-label={trans.__('Session')} aria-busy="true">
        {late && (
          <div className="jp-Postdoc-Skeleton" role="status">
            <span className="jp-Postdoc-hidden">{trans.__('Loading the session…')}</span>
            <span />
            <span />
            <span />
          </div>
        )}
      </section>
    );
  }
  if (view.loaded === 'gone') {
    return (
      <Empty
        icon="trash"
        title={trans.__('This session was deleted.')}
        actions={
          <Button kind="accept" onClick={() => navigation.go({ view: 'sessions' })}>
            {trans.__('All sessions')}
          </Button>
        }
      />
    );
  }
  if (view.loaded === 'failed') {
    return (
      <Empty
        icon="warn"
        title={view.problem?.error ?? trans.__('The session could not be opened.')}
        actions={
          <Button kind="accept" onClick={() => setAttempt(attempt + 1)}>
            {trans.__('Retry')}
          </Button>
        }
      >
        {view.problem?.next}
      </Empty>
    );
  }
  return <Shown key={id} view={view} info={info} />;
}

/** True some time after `what` began: who loads in an instant shows no skeleton. */
function useLate(what: string): boolean {
  const [late, setLate] = useState<string | null>(null);
  useEffect(() => {
    const timer = window.setTimeout(() => setLate(what), PATIENCE_MS);
    return () => window.clearTimeout(timer);
  }, [what]);
  return late === what;
}

/** Carry something out: whether it goes on, what came in its way, what it said when it was done. */
function useAttempts() {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [note, setNote] = useState<string | null>(null);
  useEffect(() => {
    const timer = note === null ? undefined : window.setTimeout(() => setNote(null), NOTE_MS);
    return () => window.clearTimeout(timer);
  }, [note]);
  const attempt = useCallback((work: () => Promise<unknown>, done?: string) => {
    setBusy(true);
    setProblem(null);
    setNote(null);
    work()
      .then(
        () => setNote(done ?? null),
        (error: unknown) => setProblem(troubleOf(error))
      )
      .finally(() => setBusy(false));
  }, []);
  return { busy, problem, note, attempt };
}

/** What is typed into keeps its keys. */
function isField(target: EventTarget): boolean {
  return target instanceof Element && target.closest('input, textarea, select, [contenteditable]') !== null;
}

function Shown({ view, info }: { view: SessionView; info: ChatInfo | null }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const navigation = useNavigation();
  const root = useRef<HTMLElement>(null);
  const composer = useRef<ComposerHandle>(null);
  const scroller = useRef<ScrollerHandle>(null);
  const head = useRef<HeadHandle>(null);
  const { busy, problem, note, attempt } = useAttempts();
  const choices = useChoices();
  const title = info?.title || view.title || trans.__('Untitled');
  const { id, status, items } = view;

  useEffect(() => {
    const node = root.current;
    const onCompose = (event: Event) => {
      composer.current?.focus((event as CustomEvent<{ text?: string } | null>).detail?.text);
    };
    node?.addEventListener('postdoc:compose', onCompose);
    return () => node?.removeEventListener('postdoc:compose', onCompose);
  }, []);

  const ended = ENDED.has(status);
  const asked = useMemo(() => ended && againRoute(items, '') !== null, [ended, items]);
  const actions = useMemo(
    () =>
      asked && (
        <Button
          kind="link"
          icon="refresh"
          onClick={() => {
            const route = againRoute(items, `again-${Date.now()}`);
            if (route !== null) {
              navigation.go(route);
            }
          }}
        >
          {trans.__('Run again with other options')}
        </Button>
      ),
    [asked, items, navigation, trans]
  );

  return (
    <section
      className="jp-Postdoc-Session"
      ref={root}
      aria-label={trans.__('Session “%1”', title)}
      onKeyDown={event => {
        if (event.key === 'Escape' && !event.defaultPrevented) {
          composer.current?.focus();
        } else if (event.key === 'F2' && !isField(event.target)) {
          event.preventDefault();
          head.current?.rename();
        }
      }}
    >
      <Head
        handle={head}
        session={id}
        title={title}
        status={status}
        reason={reasonOf(view)}
        info={info}
        attempt={attempt}
      />
      <Links view={view} info={info} />
      <LiveLine
        view={view}
        busy={busy}
        onResume={() => attempt(() => client.resume(id))}
        onForce={() => attempt(() => client.stop(id, 'now'))}
        onAnswer={() => view.waitingFor[0] !== undefined && scroller.current?.reveal(view.waitingFor[0])}
      />
      <HandBanner view={view} info={info} busy={busy} attempt={attempt} />
      {problem !== null && (
        <p role="alert" className="jp-Postdoc-Trouble">
          {problem}
        </p>
      )}
      {note !== null && (
        <p role="status" className="jp-Postdoc-Note">
          <Icon name="check" /> {note}
        </p>
      )}
      {view.plan !== null && view.plan.length > 0 && <PlanCard plan={view.plan} session={id} />}
      {items.length === 0 ? (
        <div className="jp-Postdoc-Scroller">
          <Empty icon="chat" title={trans.__('Nothing was said here yet.')} />
        </div>
      ) : (
        <TalkProvider value={canTalk(choices.models)}>
          <Scroller ref={scroller} session={view} />
        </TalkProvider>
      )}
      <Composer
        ref={composer}
        session={id}
        choices={choices}
        status={status}
        runId={view.runId}
        queue={view.queue}
        begun={items.length > 0}
        info={info}
        actions={actions}
      />
    </section>
  );
}
