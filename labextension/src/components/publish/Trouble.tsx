/** Why a publication stopped: the sentence, what was kept, where it is, and one button for each way on. */
import React, { useEffect, useState } from 'react';

import type { PublishOptions } from '../../client';
import { duration, timeOfDay } from '../../format';
import type { Publication } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import type { Trans } from '../../platform';
import type { Finding, Problem } from '../../protocol';
import { Button, Icon } from '../ui';
import { OutLink } from './SaidLine';

interface WayProps {
  publication: Publication;
  problem: Problem;
  busy: boolean;
  publish: (options: PublishOptions) => void;
  connect: () => void;
  /** Open the dialog with all choices. */
  choose: () => void;
}

/** What touches the work of others is offered, never suggested. */
const BOLD = new Set(['use_existing', 'force']);

/** The buttons: what the server says may be done now. */
export function Ways(props: WayProps): JSX.Element {
  const { publication, problem, busy, publish, connect, choose } = props;
  const platform = usePlatform();
  const trans = useTrans();
  const waits = useUntil(problem.retryAt);
  const { proposal } = problem;
  const force = async () => {
    const yes = await platform.confirm({
      title: trans.__('Overwrite the branch?'),
      body: overwritten(trans, publication),
      accept: trans.__('Overwrite'),
      dangerous: true
    });
    if (yes) {
      publish({ force: true });
    }
  };
  const label: Record<string, [string, () => void] | undefined> = {
    retry: [trans.__('Try again'), () => publish({})],
    rename: proposal
      ? [trans.__('Use the name %1', proposal), () => publish({ name: proposal })]
      : [trans.__('Choose another name…'), choose],
    use_existing: [trans.__('Use the existing repository'), () => publish({ useExisting: true })],
    connect: [trans.__('Connect GitHub…'), connect],
    squash: [trans.__('Send one commit instead'), () => publish({ history: 'squashed' })],
    force: [trans.__('Overwrite the branch…'), () => void force()],
    branch: proposal
      ? [trans.__('Use the branch %1', proposal), () => publish({ branch: proposal })]
      : undefined,
    moved: [
      proposal ? trans.__('Go on in %1', proposal) : trans.__('Go on in the new place'),
      () => publish({ acceptMoved: true })
    ]
  };
  const ways = problem.actions.filter(action => label[action] !== undefined);
  const main = ways.find(action => !BOLD.has(action));
  return (
    <>
      {ways.map(action => (
        <Button
          key={action}
          kind={action === main ? 'accept' : action === 'force' ? 'warn' : 'plain'}
          busy={busy}
          disabled={action === 'retry' && waits}
          onClick={label[action]?.[1]}
        >
          {label[action]?.[0]}
        </Button>
      ))}
      {problem.actions.includes('rename') && proposal !== '' && (
        <Button onClick={choose}>{trans.__('Another name…')}</Button>
      )}
    </>
  );
}

function overwritten(trans: Trans, { branch, repository, pull }: Publication): string {
  const where = repository?.name ?? 'GitHub';
  const text = branch
    ? trans.__(
        'What others have put on the branch %1 of %2 is replaced by the commits of this session, and is then no longer on the branch.',
        branch.name,
        where
      )
    : trans.__(
        'What others have put on the session’s branch in %1 is replaced by the commits of this session.',
        where
      );
  const more = pull
    ? ` ${trans.__('Pull request #%1 then shows only the commits of this session.', pull.number)}`
    : '';
  return `${text}${more} ${trans.__('If somebody sends something else meanwhile, nothing is overwritten.')}`;
}

/** The sentence, below the title. */
export function TroubleText({ problem, name }: { problem: Problem; name: string }): JSX.Element {
  const { language } = usePlatform();
  const trans = useTrans();
  const at = Date.parse(problem.retryAt);
  return (
    <>
      {problem.next !== '' && <p>{problem.next}</p>}
      {!Number.isNaN(at) && at > Date.now() && (
        <p className="jp-Postdoc-Said">
          <Icon name="clock" />
          <span>
            {trans.__(
              'Possible again at %1 (in %2).',
              timeOfDay(at, language),
              duration(at - Date.now(), trans)
            )}
          </span>
        </p>
      )}
      {problem.findings.length > 0 && <Findings findings={problem.findings} />}
      <p className="jp-Postdoc-Said">
        <Icon name="check" />
        <span>
          {name ? trans.__('Kept: all commits, here in %1.', name) : trans.__('Kept: all commits, here.')}
        </span>
      </p>
      {problem.url !== '' && (
        <p>
          <OutLink url={problem.url} icon="external">
            {trans.__('The page that helps')}
          </OutLink>
        </p>
      )}
    </>
  );
}

const SHOWN = 8;

/** What must not be sent: file, line, step, and why. */
function Findings({ findings }: { findings: readonly Finding[] }): JSX.Element {
  const trans = useTrans();
  const [all, setAll] = useState(false);
  const shown = all ? findings : findings.slice(0, SHOWN);
  return (
    <>
      <ul className="jp-Postdoc-Findings" aria-label={trans.__('What was found')}>
        {shown.map((found, index) => (
          <li key={index}>
            <span className={`jp-Postdoc-Said jp-mod-${found.blocking ? 'bad' : 'plain'}`}>
              <Icon name={found.blocking ? 'error' : 'warn'} />
              <span>
                <code>{found.path}</code>{' '}
                <span className="jp-Postdoc-Small">
                  {[
                    found.line !== null ? trans.__('line %1', found.line) : '',
                    found.step ? trans.__('step: %1', found.step) : '',
                    found.commit ? found.commit.slice(0, 7) : ''
                  ]
                    .filter(Boolean)
                    .join(' · ')}
                </span>
                <br />
                {found.text}
                {!found.blocking && ` ${trans.__('(only a warning)')}`}
              </span>
            </span>
          </li>
        ))}
      </ul>
      {findings.length > SHOWN && !all && (
        <Button kind="link" onClick={() => setAll(true)}>
          {trans.__('Show all %1', findings.length)}
        </Button>
      )}
    </>
  );
}

/** True until that moment; "" or nonsense: false. */
function useUntil(at: string): boolean {
  const until = Date.parse(at);
  const [over, setOver] = useState(0);
  useEffect(() => {
    const left = until - Date.now();
    if (!(left > 0)) {
      return undefined;
    }
    const timer = window.setTimeout(() => setOver(until), Math.min(left, 2 ** 31 - 1));
    return () => window.clearTimeout(timer);
  }, [until]);
  return until > Date.now() && over !== until;
}
