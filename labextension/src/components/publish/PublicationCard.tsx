/** Where the work of a session is published, and the way there. */
import React, { useEffect, useRef, useState } from 'react';

import { useNavigation } from '../../navigation';
import { useTrans } from '../../platform';
import { Button, Card, Disclosure, Icon } from '../ui';
import { CommentsSheet } from './CommentsSheet';
import { useTalk } from '../session/talk';
import { useGitHub } from './github';
import { Place, PublicationLinks, PullState, Steps } from './Parts';
import { PublishSheet } from './PublishSheet';
import { TroubleText, Ways } from './Trouble';
import type { PublicationState } from './usePublication';
import { usePublication } from './usePublication';

/** Nothing went wrong: somebody has to decide, or to connect. */
const MILD = new Set(['github_conflict', 'github_auth', 'stopped']);

interface CardProps {
  session: string;
  /** A publication begins by itself. */
  follows?: boolean;
}

export function PublicationCard({ session, follows = false }: CardProps): JSX.Element | null {
  const known = usePublication(session);
  const [sheet, setSheet] = useState<'publish' | 'comments' | null>(null);
  const { publication, publishable } = known;
  const host = useRef<HTMLDivElement>(null);
  useKeptFocus(host, publication?.state ?? publishable?.state ?? '');
  if (publication === null && publishable?.canPublish !== true && !follows) {
    return null;
  }
  const choose = () => setSheet('publish');
  return (
    <div className="jp-Postdoc-Publication" data-publication tabIndex={-1} ref={host}>
      {publication === null ? (
        follows && !known.busy && publishable?.canPublish !== true ? (
          <Begins />
        ) : (
          <Local known={known} choose={choose} follows={follows} />
        )
      ) : publication.state === 'publishing' ? (
        <AtIt known={known} />
      ) : publication.state === 'failed' ? (
        <Failed known={known} choose={choose} />
      ) : (
        <Published known={known} choose={choose} comments={() => setSheet('comments')} />
      )}
      {sheet === 'publish' && (
        <PublishSheet
          name={known.name}
          publication={publication}
          onClose={() => setSheet(null)}
          onPublish={options => {
            setSheet(null);
            known.publish(options);
          }}
        />
      )}
      {sheet === 'comments' && <CommentsSheet session={session} onClose={() => setSheet(null)} />}
    </div>
  );
}

/** The button that was pressed goes away with its state: the keyboard stays at the card. */
function useKeptFocus(host: React.RefObject<HTMLElement>, state: string): void {
  const inside = useRef(false);
  useEffect(() => {
    const node = host.current;
    const note = (event: FocusEvent) => {
      inside.current = node?.contains(event.target as Node) === true;
    };
    document.addEventListener('focusin', note);
    return () => document.removeEventListener('focusin', note);
  });
  useEffect(() => {
    if (inside.current && (document.activeElement === null || document.activeElement === document.body)) {
      host.current?.focus();
    }
  }, [host, state]);
}

interface PartProps {
  known: PublicationState;
  choose: () => void;
}

/** What a request has come to, below everything else. */
function Said({ known }: { known: PublicationState }): JSX.Element {
  return (
    <>
      {known.trouble !== null && <p role="alert">{known.trouble}</p>}
      <p role="status" className={known.note === null ? 'jp-Postdoc-hidden' : 'jp-Postdoc-Small'}>
        {known.note}
      </p>
    </>
  );
}

function Begins(): JSX.Element {
  const trans = useTrans();
  return <Card icon="spinner" title={trans.__('Publishing on GitHub begins…')} />;
}

/** Saved on this machine, and nowhere else. */
function Local({ known, choose, follows }: PartProps & { follows: boolean }): JSX.Element {
  const trans = useTrans();
  const navigation = useNavigation();
  const { status } = useGitHub();
  const { name, busy, connected } = known;
  if (connected !== true) {
    return (
      <Card
        icon="folder"
        title={trans.__('Saved on this machine')}
        actions={
          <Button kind="accept" icon="plug" onClick={() => navigation.show('github')}>
            {trans.__('Connect GitHub…')}
          </Button>
        }
      >
        <p>{trans.__('Saved locally in %1. Connect GitHub to publish; nothing is lost.', name)}</p>
        <Said known={known} />
      </Card>
    );
  }
  const owner = status?.defaults.owner ?? '';
  return (
    <Card
      icon="folder"
      title={trans.__('Not published yet')}
      actions={
        <>
          <Button kind="accept" icon="publish" busy={busy} onClick={() => known.publish()}>
            {trans.__('Publish')}
          </Button>
          <Button onClick={choose}>{trans.__('Options…')}</Button>
        </>
      }
    >
      <p>{trans.__('Saved locally in %1. On GitHub it becomes:', name)}</p>
      <Place name={owner ? `${owner}/${name}` : name} hidden={status?.defaults.private ?? true} />
      <p className="jp-Postdoc-Small">{trans.__('With a draft pull request for whoever reviews it.')}</p>
      {follows && <p>{trans.__('It is published by itself in a moment.')}</p>}
      <Said known={known} />
    </Card>
  );
}

function AtIt({ known }: { known: PublicationState }): JSX.Element | null {
  const trans = useTrans();
  const { publication } = known;
  if (publication === null) {
    return null;
  }
  const now = publication.steps.find(step => step.state === 'active');
  return (
    <Card icon="spinner" tone="info" title={trans.__('Publishing on GitHub…')}>
      {publication.repository && (
        <Place name={publication.repository.name} hidden={publication.repository.private} />
      )}
      <Steps publication={publication} />
      <PublicationLinks publication={publication} />
      <p className="jp-Postdoc-hidden" role="status">
        {now?.text ?? ''}
      </p>
      <Said known={known} />
    </Card>
  );
}

function Published({ known, choose, comments }: PartProps & { comments: () => void }): JSX.Element | null {
  const trans = useTrans();
  const talks = useTalk(); // without a model there is nobody to hand anything to
  const { publication, busy } = known;
  if (publication === null) {
    return null;
  }
  const { repository, pull, notes, ahead } = publication;
  const open = pull === undefined || pull.state === 'open';
  return (
    <Card
      tone={pull?.checks.state === 'failed' && open ? 'warn' : 'success'}
      icon={pull?.state === 'merged' ? 'merge' : 'publish'}
      title={trans.__('Published on GitHub')}
      actions={
        <>
          {ahead > 0 && (
            <Button kind="accept" icon="publish" busy={busy} onClick={() => known.publish()}>
              {trans.__('Publish again')}
            </Button>
          )}
          {pull !== undefined && pull.comments > 0 && (
            <Button icon="chat" onClick={comments}>
              {talks ? trans.__('Hand to the agent…') : trans.__('Comments…')}
            </Button>
          )}
          <Button icon="refresh" busy={busy && ahead === 0} onClick={known.refresh}>
            {trans.__('Refresh')}
          </Button>
          <Button onClick={choose}>{trans.__('Options…')}</Button>
        </>
      }
    >
      {repository && <Place name={repository.name} hidden={repository.private} />}
      <PublicationLinks publication={publication} />
      <PullState publication={publication} />
      {pull !== undefined && pull.comments > 0 && (
        <p className="jp-Postdoc-Said">
          <Icon name="chat" />
          <span>{trans._n('%1 comment', '%1 comments', pull.comments)}</span>
        </p>
      )}
      {ahead > 0 && (
        <p className="jp-Postdoc-Said jp-mod-bad">
          <Icon name="warn" />
          <span>
            {trans._n('%1 commit is not published yet.', '%1 commits are not published yet.', ahead)}
          </span>
        </p>
      )}
      <Notes notes={notes} />
      <Said known={known} />
    </Card>
  );
}

function Notes({ notes }: { notes: readonly string[] }): JSX.Element | null {
  return notes.length === 0 ? null : (
    <ul className="jp-Postdoc-PublishNotes">
      {notes.map((note, index) => (
        <li key={index}>
          <Icon name="info" />
          <span>{note}</span>
        </li>
      ))}
    </ul>
  );
}

function Failed({ known, choose }: PartProps): JSX.Element | null {
  const trans = useTrans();
  const navigation = useNavigation();
  const { publication, name, busy } = known;
  if (publication === null) {
    return null;
  }
  const { problem, repository, notes, steps } = publication;
  return (
    <Card
      tone={MILD.has(problem?.code ?? '') || problem?.retryable ? 'warn' : 'error'}
      title={problem?.error || trans.__('The publication did not come to its end.')}
      actions={
        <>
          {problem ? (
            <Ways
              publication={publication}
              problem={problem}
              busy={busy}
              publish={known.publish}
              connect={() => navigation.show('github')}
              choose={choose}
            />
          ) : (
            <Button kind="accept" busy={busy} onClick={() => known.publish()}>
              {trans.__('Try again')}
            </Button>
          )}
          <Button onClick={choose}>{trans.__('Options…')}</Button>
        </>
      }
    >
      {problem && <TroubleText problem={problem} name={name} />}
      {repository && <Place name={repository.name} hidden={repository.private} />}
      <PublicationLinks publication={publication} />
      <Notes notes={notes} />
      {steps.length > 0 && (
        <Disclosure summary={trans.__('How far it came')}>
          <Steps publication={publication} />
        </Disclosure>
      )}
      <Said known={known} />
    </Card>
  );
}
