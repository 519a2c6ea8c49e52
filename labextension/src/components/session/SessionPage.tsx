/** One session: what it is about, how it is, what happened, and where to speak. */
import React, { useEffect, useRef, useState } from 'react';

import { RequestFailed } from '../../client';
import type { ChatInfo, SessionView } from '../../model';
import { useNavigation } from '../../navigation';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { recordOf, textIn } from '../../store/parts';
import { reportOf } from '../timeline/report';
import type { MenuItem } from '../ui';
import { Button, Empty, Menu } from '../ui';
import type { ComposerHandle } from './Composer';
import { Composer } from './Composer';
import { Links } from './Links';
import { LiveLine } from './LiveLine';
import { PlanCard } from './PlanCard';
import { Scroller } from './Scroller';

const PATIENCE_MS = 300;

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

function Shown({ view, info }: { view: SessionView; info: ChatInfo | null }): JSX.Element {
  const platform = usePlatform();
  const trans = useTrans();
  const { client } = platform;
  const root = useRef<HTMLElement>(null);
  const composer = useRef<ComposerHandle>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  useEffect(() => {
    const node = root.current;
    const onCompose = (event: Event) => {
      composer.current?.focus((event as CustomEvent<{ text?: string } | null>).detail?.text);
    };
    node?.addEventListener('postdoc:compose', onCompose);
    return () => node?.removeEventListener('postdoc:compose', onCompose);
  }, []);

  const attempt = (work: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(null);
    work()
      .catch((error: unknown) => {
        setProblem(
          error instanceof RequestFailed ? `${error.problem.error} ${error.problem.next}` : String(error)
        );
      })
      .finally(() => setBusy(false));
  };

  const toCard = () => {
    const cards = root.current?.querySelectorAll<HTMLElement>('[data-request]') ?? [];
    const open = Array.from(cards).find(card => card.dataset.request === view.waitingFor[0]);
    open?.scrollIntoView({ block: 'nearest' });
    (open?.querySelector<HTMLElement>('button, input') ?? open)?.focus();
  };

  return (
    <section
      className="jp-Postdoc-Session"
      ref={root}
      aria-label={trans.__('Session “%1”', info?.title || trans.__('Untitled'))}
      onKeyDown={event => {
        if (event.key === 'Escape' && !event.defaultPrevented) {
          composer.current?.focus();
        }
      }}
    >
      <Head view={view} info={info} attempt={attempt} />
      <Links view={view} info={info} />
      <LiveLine
        view={view}
        busy={busy}
        onResume={() => attempt(() => client.resume(view.id))}
        onForce={() => attempt(() => client.stop(view.id, 'now'))}
        onAnswer={toCard}
      />
      {problem !== null && (
        <p role="alert" className="jp-Postdoc-Trouble">
          {problem}
        </p>
      )}
      {view.items.length === 0 ? (
        <div className="jp-Postdoc-Scroller">
          <Empty icon="chat" title={trans.__('Nothing was said here yet.')} />
        </div>
      ) : (
        <Scroller
          session={view}
          header={
            view.plan !== null && view.plan.length > 0 && <PlanCard plan={view.plan} session={view.id} />
          }
        />
      )}
      <Composer ref={composer} view={view} info={info} />
    </section>
  );
}

interface HeadProps {
  view: SessionView;
  info: ChatInfo | null;
  attempt: (work: () => Promise<unknown>) => void;
}

function Head({ view, info, attempt }: HeadProps): JSX.Element {
  const platform = usePlatform();
  const navigation = useNavigation();
  const trans = useTrans();
  const { client, openSession } = platform;
  const [editing, setEditing] = useState<string | null>(null);
  const title = info?.title || view.title || trans.__('Untitled');
  const question = view.items.find(item => item.kind === 'user' && item.research !== undefined);
  const research = recordOf(question?.kind === 'user' ? question.research : null);
  const rename = () => setEditing(title);

  const remove = async () => {
    const yes = await platform.confirm({
      title: trans.__('Delete “%1”?', title),
      body: trans.__(
        'Its messages are deleted for good, and what still runs is stopped. Files on disk stay.'
      ),
      accept: trans.__('Delete'),
      dangerous: true
    });
    if (yes) {
      await client.delete(view.id);
      navigation.go({ view: 'sessions' });
    }
  };

  const items: (MenuItem | 'separator' | null)[] = [
    { label: trans.__('Rename'), icon: 'edit', onSelect: rename },
    openSession
      ? {
          label: trans.__('Open in tab'),
          icon: 'external',
          onSelect: () => openSession.call(platform, view.id)
        }
      : null,
    textIn(research, 'topic')
      ? {
          label: trans.__('Run again with other options…'),
          icon: 'refresh',
          onSelect: () =>
            navigation.go({
              view: 'new',
              topic: textIn(research, 'topic'),
              ...(textIn(research, 'template') ? { template: textIn(research, 'template') } : {}),
              key: `again-${Date.now()}`
            })
        }
      : null,
    {
      label: trans.__('Fork'),
      icon: 'branch',
      onSelect: () => attempt(async () => navigation.go({ view: 'session', id: await client.fork(view.id) }))
    },
    {
      label: trans.__('Copy link'),
      icon: 'copy',
      onSelect: () => void platform.copy(client.url(`s/${view.id}`))
    },
    {
      label: trans.__('Copy report'),
      icon: 'copy',
      onSelect: () => void platform.copy(reportOf(null, view))
    },
    'separator',
    {
      label: info?.archived ? trans.__('Unarchive') : trans.__('Archive'),
      icon: 'archive',
      onSelect: () => attempt(() => client.set(view.id, { archived: !info?.archived }))
    },
    {
      label: trans.__('Delete'),
      icon: 'trash',
      dangerous: true,
      onSelect: () => attempt(remove)
    }
  ];
  return (
    <header className="jp-Postdoc-Session-head">
      {editing === null ? (
        <h2
          tabIndex={-1}
          onDoubleClick={rename}
          onKeyDown={event => event.key === 'F2' && rename()}
          title={title}
        >
          {title}
        </h2>
      ) : (
        <input
          className="jp-Postdoc-Input"
          autoFocus
          maxLength={200}
          aria-label={trans.__('Title')}
          value={editing}
          onFocus={event => event.target.select()}
          onChange={event => setEditing(event.target.value)}
          onBlur={() => setEditing(null)}
          onKeyDown={event => {
            if (event.key === 'Enter' && editing.trim() !== '') {
              attempt(() => client.set(view.id, { title: editing.trim() }));
              setEditing(null);
            } else if (event.key === 'Escape') {
              event.preventDefault();
              event.stopPropagation();
              setEditing(null);
            }
          }}
        />
      )}
      <Menu
        label={trans.__('Actions of this session')}
        items={items.filter((item): item is MenuItem | 'separator' => item !== null)}
      />
    </header>
  );
}
