/** In the list of sessions: how the pull request stands, in a sign and a number. */
import React from 'react';

import type { ChatInfo } from '../../model';
import { plainLine } from '../../plain';
import { useTrans } from '../../platform';
import type { Trans } from '../../platform';
import type { IconName } from '../ui';
import { Icon } from '../ui';

type Published = NonNullable<ChatInfo['publication']>;

export function PublishBadge({ published }: { published: Published }): JSX.Element {
  const trans = useTrans();
  const { icon, tone, text, label } = badgeOf(trans, published);
  return (
    <span className={`jp-Postdoc-PublishBadge jp-mod-${tone}`} title={label}>
      <Icon name={icon} />
      <span aria-hidden="true">{text}</span>
      <span className="jp-Postdoc-hidden">{label}</span>
    </span>
  );
}

interface Badge {
  readonly icon: IconName;
  readonly tone: 'good' | 'bad' | 'busy' | 'plain';
  readonly text: string;
  readonly label: string;
}

/** The worst thing that is known of it decides the sign. */
export function badgeOf(trans: Trans, published: Published): Badge {
  const { state, pull, pullState, checks, ahead } = published;
  const repository = plainLine(published.repository);
  const number = pull === null ? '' : `#${pull}`;
  if (state === 'publishing') {
    return {
      icon: 'publish',
      tone: 'busy',
      text: number || trans.__('publishing'),
      label: trans.__('Publishing on GitHub')
    };
  }
  if (state === 'failed') {
    return {
      icon: 'warn',
      tone: 'bad',
      text: number || trans.__('not published'),
      label: trans.__('The last publication failed; everything is kept here')
    };
  }
  const later =
    ahead > 0 ? `; ${trans._n('%1 commit not published yet', '%1 commits not published yet', ahead)}` : '';
  if (pull === null) {
    return {
      icon: 'publish',
      tone: 'plain',
      text: trans.__('published'),
      label: trans.__('Published in %1', repository) + later
    };
  }
  const said = (words: string, icon: IconName, tone: Badge['tone']): Badge => ({
    icon,
    tone,
    text: number,
    label: trans.__('Pull request %1: %2', number, words) + later
  });
  switch (pullState) {
    case 'merged':
      return said(trans.__('merged'), 'merge', 'good');
    case 'closed':
      return said(trans.__('closed without merging'), 'close', 'plain');
  }
  switch (checks) {
    case 'failed':
      return said(trans.__('checks failed'), 'error', 'bad');
    case 'passed':
      return said(trans.__('open, checks passed'), 'check', 'good');
    case 'pending':
      return said(trans.__('open, checks are running'), 'clock', 'busy');
    default:
      return said(pullState === 'draft' ? trans.__('open as a draft') : trans.__('open'), 'pull', 'plain');
  }
}
