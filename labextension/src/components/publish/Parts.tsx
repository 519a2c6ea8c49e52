/** The parts of the card: its steps, its links, how the pull request stands. */
import React from 'react';

import type { Publication } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { relative } from '../../format';
import { Icon } from '../ui';
import { OutLink, SaidLine } from './SaidLine';
import { checksSaid, pullSaid, reviewSaid, stepName, stepSaid, visibility } from './words';

/** What is done, what is done now, what is still to do. */
export function Steps({ publication }: { publication: Publication }): JSX.Element {
  const trans = useTrans();
  return (
    <ol className="jp-Postdoc-PublishSteps" aria-label={trans.__('Steps')}>
      {publication.steps.map(step => {
        const said = stepSaid(trans, step);
        return (
          <li
            key={step.name}
            className={`jp-mod-${step.state}`}
            aria-current={step.state === 'active' ? 'step' : undefined}
          >
            <span className={`jp-Postdoc-Said jp-mod-${said.tone}`}>
              <Icon name={said.icon} />
              <span>
                {stepName(trans, step)}
                <span className="jp-Postdoc-hidden"> ({said.text})</span>
              </span>
            </span>
          </li>
        );
      })}
    </ol>
  );
}

/** The pages on the forge, as far as there are any. */
export function PublicationLinks({ publication }: { publication: Publication }): JSX.Element | null {
  const trans = useTrans();
  const { repository, branch, pull } = publication;
  if (!repository && !branch && !pull) {
    return null;
  }
  const number = pull?.number;
  return (
    <nav className="jp-Postdoc-PublishLinks" aria-label={trans.__('Pages on GitHub')}>
      {pull && (
        <OutLink url={pull.url} icon="pull">
          {pull.draft && pull.state === 'open'
            ? trans.__('Draft pull request #%1', number)
            : trans.__('Pull request #%1', number)}
        </OutLink>
      )}
      {repository && (
        <OutLink url={repository.url} icon="book">
          {trans.__('Repository')}
        </OutLink>
      )}
      {branch && (
        <OutLink url={branch.url} icon="branch">
          {trans.__('Branch')}
        </OutLink>
      )}
      {branch && (
        <OutLink url={branch.compareUrl} icon="code">
          {trans.__('Compare')}
        </OutLink>
      )}
    </nav>
  );
}

/** Which repository, and who can see it. */
export function Place({ name, hidden }: { name: string; hidden: boolean }): JSX.Element {
  const trans = useTrans();
  return (
    <p className="jp-Postdoc-PublishPlace">
      <Icon name={hidden ? 'lock' : 'globe'} />
      <span>
        <strong>{name}</strong> · {visibility(trans, { private: hidden })}
      </span>
    </p>
  );
}

/** The pull request: open or not, its checks, its reviews. */
export function PullState({ publication }: { publication: Publication }): JSX.Element | null {
  const trans = useTrans();
  const { language } = usePlatform();
  const { pull, checkedAt } = publication;
  const at = checkedAt === undefined ? NaN : Date.parse(checkedAt);
  if (pull === undefined) {
    return <p>{trans.__('There is no pull request for this branch.')}</p>;
  }
  const state = pullSaid(trans, pull);
  return (
    <>
      <ul className="jp-Postdoc-PublishState" aria-label={trans.__('Pull request #%1', pull.number)}>
        <li>
          <SaidLine said={{ ...state, text: trans.__('Pull request: %1', state.text) }} />
        </li>
        {(pull.checks.state !== 'none' || pull.state === 'open') && (
          <li>
            <SaidLine said={checksSaid(trans, pull.checks)} url={pull.checks.url} />
          </li>
        )}
        {(pull.review.state !== 'none' || pull.state === 'open') && (
          <li>
            <SaidLine said={reviewSaid(trans, pull.review)} />
          </li>
        )}
        {pull.state === 'open' && pull.mergeable === false && (
          <li>
            <SaidLine
              said={{
                icon: 'warn',
                tone: 'bad',
                text: trans.__('It cannot be merged as it is: %1 has changed in the same places.', pull.base)
              }}
            />
          </li>
        )}
      </ul>
      {!Number.isNaN(at) && (
        <p className="jp-Postdoc-Small">
          {trans.__('Last look at GitHub: %1', relative(at, Date.now(), language))}
        </p>
      )}
    </>
  );
}
