/** A session's notebook, alive: who has it, how its kernel is, and the page itself. */
import React, { useEffect, useRef, useState } from 'react';

import { usePlatform, useSelected, useTrans } from '../../platform';
import { Banner, Button, Elapsed, Empty, classes } from '../ui';
import type { NotebookDesk, Page, Shown } from './desk';
import { NotebookFrame } from './NotebookFrame';
import { useNotebookPath } from './path';
import { Toolbar } from './Toolbar';
import { useNotebook } from './useNotebook';
import { useUnread } from './useUnread';
import { outputsSaid } from './words';

interface Props {
  session: string;
  /** The cell to bring into view when the page is opened. */
  cell?: string;
  /** Shows the session that the notebook is of; where there is another way to it, it is left out. */
  onSession?: () => void;
}

export function NotebookView({ session, cell, onSession }: Props): JSX.Element {
  const trans = useTrans();
  const host = useRef<HTMLElement>(null);
  const { desk, ...shown } = useNotebook(session, host);
  const title = useSelected(
    state => state.sessions?.[session]?.title || state.views[session]?.title || trans.__('Untitled')
  );
  return (
    <section
      className={classes('jp-Postdoc-Notebook', `jp-mod-${shown.page.at}`)}
      ref={host}
      aria-label={trans.__('Notebook of “%1”', title)}
    >
      <Toolbar session={session} title={title} shown={shown} desk={desk} onSession={onSession} />
      <Notes shown={shown} desk={desk} />
      <Body shown={shown} desk={desk} title={title} cell={cell} session={session} />
    </section>
  );
}

/** What should be known beside the page, the worst first. */
function Notes({ shown, desk }: { shown: Shown; desk: NotebookDesk }): JSX.Element | null {
  const { language } = usePlatform();
  const trans = useTrans();
  const { status, page, trouble, doing } = shown;
  const outputs = status && page.at === 'open' ? outputsSaid(trans, status, language, Date.now()) : null;
  const news = status?.state === 'ready' ? status.message : '';
  const notes = [news, outputs].filter(Boolean).join(' ');
  const [unread, dismiss] = useUnread(`${news} ${status?.outputsFrom ?? ''}`);
  const isDead = page.at === 'open' && status?.kernel === 'dead';
  return (
    <>
      {trouble !== null && (
        <Banner
          tone="error"
          role="alert"
          actions={
            <Button kind="link" onClick={desk.dismiss}>
              {trans.__('Dismiss')}
            </Button>
          }
        >
          {trouble}
        </Banner>
      )}
      {isDead && (
        <Banner
          tone="error"
          role="alert"
          actions={
            <Button icon="refresh" busy={doing === 'restart'} onClick={() => void desk.restart('kernel')}>
              {trans.__('Restart the kernel')}
            </Button>
          }
        >
          {status.message || trans.__('The kernel has ended; its variables are lost.')}
        </Banner>
      )}
      {page.at === 'open' && !isDead && status?.state === 'following' && (
        <Banner>
          {trans.__('The agent works on the notebook’s file, and this page follows it.')} {status.message}
        </Banner>
      )}
      {page.at === 'open' && !isDead && notes !== '' && unread && (
        <Banner
          actions={
            <Button kind="link" onClick={dismiss}>
              {trans.__('Dismiss')}
            </Button>
          }
        >
          {notes}
        </Banner>
      )}
    </>
  );
}

interface BodyProps {
  shown: Shown;
  desk: NotebookDesk;
  title: string;
  session: string;
  cell?: string;
}

function Body({ shown, desk, title, session, cell }: BodyProps): JSX.Element {
  const trans = useTrans();
  const { page, switching, doing } = shown;
  switch (page.at) {
    case 'starting':
      return <Starting page={page} />;
    case 'absent':
      return (
        <Empty icon="notebook" title={trans.__('There is no notebook yet.')}>
          {trans.__('It is shown here as soon as the agent has made it.')}
        </Empty>
      );
    case 'failed':
      return (
        <Empty
          icon="warn"
          title={page.problem.error}
          actions={
            <>
              <Button kind="accept" icon="refresh" onClick={() => void desk.open()}>
                {trans.__('Retry')}
              </Button>
              <OpenFile session={session} />
            </>
          }
        >
          <p role="alert">{page.problem.next || trans.__('The notebook’s file is as it was.')}</p>
        </Empty>
      );
    case 'ended':
      return (
        <Empty
          icon="notebook"
          title={trans.__('The notebook is not running.')}
          actions={
            <>
              <Button
                kind="accept"
                icon="play"
                busy={doing !== null || switching}
                onClick={() => void desk.open()}
              >
                {trans.__('Start it again')}
              </Button>
              <OpenFile session={session} />
            </>
          }
        >
          <p role="status">
            {page.message} {trans.__('It is saved, with the outputs that it had.')}
          </p>
        </Empty>
      );
    case 'open':
      return (
        <Frames
          page={page}
          title={title}
          cell={cell}
          desk={desk}
          veil={
            shown.status?.state === 'starting'
              ? trans.__('The notebook is being started again…')
              : switching
                ? shown.status?.mine
                  ? trans.__('Opening it for editing…')
                  : trans.__('Opening it to watch…')
                : null
          }
        />
      );
  }
}

type OpenPage = Extract<Page, { at: 'open' }>;

interface FramesProps {
  page: OpenPage;
  title: string;
  cell?: string;
  desk: NotebookDesk;
  veil: string | null;
}

/**
 * The page; while one for editing takes the place of one to watch or the other way round, the old one is seen until the
 * new one is there, at the same place. Nothing can be done in it: two for editing at a time would be in each other's way,
 * and what is typed into one that was given back goes nowhere.
 */
function Frames({ page, title, cell, desk, veil }: FramesProps): JSX.Element {
  const [pair, setPair] = useState<{ now: OpenPage; before: OpenPage | null }>({ now: page, before: null });
  const place = useRef<string>();
  if (pair.now.n !== page.n) {
    setPair({ now: page, before: pair.now.mode !== page.mode ? pair.now : null });
  }
  const { before } = pair;
  return (
    <div className="jp-Postdoc-Notebook-frames">
      {before !== null && before.n !== page.n && (
        <NotebookFrame
          key={before.n}
          url={before.url}
          editing={before.mode === 'edit'}
          title={title}
          veil={null}
          leaving
          onSaid={() => undefined}
        />
      )}
      <NotebookFrame
        key={page.n}
        url={page.url}
        editing={page.mode === 'edit'}
        title={title}
        cell={cell}
        veil={veil}
        place={place.current}
        onLoaded={() => setPair(({ now }) => ({ now, before: null }))}
        onPlace={where => (place.current = where)}
        onSaid={event => void desk.said(event)}
      />
    </div>
  );
}

const PATIENCE_MS = 10_000;

/** It says for how long, and after a while why it may take longer. */
function Starting({ page }: { page: Extract<Page, { at: 'starting' }> }): JSX.Element {
  const trans = useTrans();
  const late = useLate(page.since);
  return (
    <Empty
      icon="spinner"
      title={
        <>
          {trans.__('Starting the notebook…')}{' '}
          <span aria-hidden="true">
            <Elapsed since={page.since} />
          </span>
        </>
      }
    >
      <p role="status">
        {late
          ? trans.__(
              'It takes longer than usual: other notebooks may be starting too. It is given up after 40 s.'
            )
          : trans.__('An editor with a kernel of its own is started for this project.')}
      </p>
    </Empty>
  );
}

function useLate(since: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    setLate(false);
    const timer = window.setTimeout(() => setLate(true), Math.max(0, since + PATIENCE_MS - Date.now()));
    return () => window.clearTimeout(timer);
  }, [since]);
  return late;
}

/** The other way to what is in it. */
function OpenFile({ session }: { session: string }): JSX.Element | null {
  const platform = usePlatform();
  const trans = useTrans();
  const path = useNotebookPath(session);
  return platform.openFile === undefined || path === '' ? null : (
    <Button icon="file" onClick={() => platform.openFile?.(path)}>
      {trans.__('Open the file')}
    </Button>
  );
}
