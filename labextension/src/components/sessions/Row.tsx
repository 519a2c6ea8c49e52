/** One session in the list: three lines, each cut to the width, so that all rows are of one height. */
import React from 'react';

import { firstLine, money, relative } from '../../format';
import type { ChatInfo } from '../../model';
import { usePlatform } from '../../platform';
import type { Trans } from '../../platform';
import { PublishBadge } from '../publish/PublishBadge';
import { StateIcon, classes, stateText, statusOf } from '../ui';
import { needsUser } from './order';

export interface RowProps {
  info: ChatInfo;
  /** The element's id; arrow keys move among elements by it. */
  domId: string;
  /** The keyboard is on it. */
  active: boolean;
  /** It is the one that is open. */
  current: boolean;
  unread: boolean;
  /** Milliseconds, for the relative time. */
  now: number;
  /** As people read them; "" when there is none. */
  template: string;
  model: string;
}

/** A session as an option of the list. */
export const Row = React.memo(function Row(props: RowProps): JSX.Element {
  const { info, domId, active, current, unread, now, template, model } = props;
  const { trans, language } = usePlatform();
  const status = statusOf(info.state);
  const asks = needsUser(info) && !(info.reason === 'taken_over' && info.needs === 0);
  const state = asks ? trans.__('Needs your answer') : stateText(trans, status, info.reason);
  const shown = needsUser(info) && status !== 'waiting' && status !== 'paused' ? 'waiting' : status;
  const changed = Date.parse(info.updatedAt);
  const cost = money(info.cost);
  return (
    <div
      role="option"
      id={domId}
      data-id={info.id}
      aria-selected={current}
      className={classes(
        'jp-Postdoc-Row',
        active && 'jp-mod-active',
        current && 'jp-mod-current',
        unread && 'jp-mod-unread',
        needsUser(info) && 'jp-mod-needs'
      )}
    >
      <span className="jp-Postdoc-Row-state" title={state}>
        <StateIcon status={shown} />
      </span>
      <span className="jp-Postdoc-Row-title" title={info.title}>
        {info.title || trans.__('Untitled')}
      </span>
      {unread && (
        <span className="jp-Postdoc-Row-unread" title={trans.__('Finished since you last looked')}>
          <span className="jp-Postdoc-hidden">{trans.__('Finished since you last looked')}</span>
        </span>
      )}
      <RowLine info={info} state={state} trans={trans} />
      <span className="jp-Postdoc-Row-facts">
        {template && (
          <span className="jp-Postdoc-Row-template" title={template}>
            {template}
          </span>
        )}
        {model && (
          <span className="jp-Postdoc-Row-model" title={model}>
            {model}
          </span>
        )}
        {!Number.isNaN(changed) && (
          <time dateTime={info.updatedAt} className="jp-Postdoc-Row-time">
            {relative(changed, now, language)}
          </time>
        )}
        {cost && <span className="jp-Postdoc-Row-cost">{cost}</span>}
        {info.publication && <PublishBadge published={info.publication} />}
      </span>
    </div>
  );
});

/** While it runs: what it does now. Otherwise: its state, and what came of it. */
function RowLine({ info, state, trans }: { info: ChatInfo; state: string; trans: Trans }): JSX.Element {
  const line = info.line ? firstLine(info.line) : '';
  const running = statusOf(info.state) === 'running' && !needsUser(info);
  if (running && line !== '') {
    return (
      <span className="jp-Postdoc-Row-line" title={line}>
        <span className="jp-Postdoc-hidden">{state}: </span>
        {line}
      </span>
    );
  }
  return (
    <span className="jp-Postdoc-Row-line" title={line || state}>
      {line === '' ? state : line.startsWith(state) ? line : trans.__('%1 · %2', state, line)}
    </span>
  );
}
