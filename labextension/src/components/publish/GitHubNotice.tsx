/** Over the list of sessions: GitHub was connected, and is no longer. */
import React from 'react';

import type { State } from '../../model';
import { useNavigation } from '../../navigation';
import { useSelected, useTrans } from '../../platform';
import { Banner, Button } from '../ui';
import { useGitHub } from './github';

const isUsed = (state: State) =>
  Object.values(state.sessions ?? {}).some(info => !info.archived && info.publication !== null);

/** Nobody is asked for a connection here who never published anything. */
export function GitHubNotice(): JSX.Element | null {
  const trans = useTrans();
  const navigation = useNavigation();
  const { status } = useGitHub(useSelected(isUsed));
  if (status?.problem?.code !== 'github_auth') {
    return null;
  }
  return (
    <Banner
      tone="warn"
      actions={
        <Button kind="link" onClick={() => navigation.show('github')}>
          {trans.__('Reconnect…')}
        </Button>
      }
    >
      {status.problem.error}
    </Banner>
  );
}
