/** In the session: whose hand the notebook is in, when it is a person's, and that it failed. */
import React from 'react';

import type { ChatInfo, SessionView } from '../../model';
import { plainLine } from '../../plain';
import type { Trans } from '../../platform';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { recordOf, textIn } from '../../store/parts';
import { Banner, Button } from '../ui';
import { useNotebookPath } from './path';
import { useUnread } from './useUnread';

interface Props {
  view: SessionView;
  info: ChatInfo | null;
  busy: boolean;
  /** Does something and shows what came in its way. */
  attempt: (work: () => Promise<unknown>, done?: string) => void;
}

export function HandBanner(props: Props): JSX.Element {
  return (
    <>
      <News view={props.view} />
      <Taken {...props} />
    </>
  );
}

/** What has happened to its processes, and what was lost by that. */
function News({ view }: Pick<Props, 'view'>): JSX.Element | null {
  const platform = usePlatform();
  const trans = useTrans();
  const path = useNotebookPath(view.id);
  const { state = 'stopped', message = '' } = view.notebook ?? {};
  const [unread, dismiss] = useUnread(message);
  const hasFailed = state === 'failed';
  if (message === '' || !unread || !(hasFailed || state === 'ready')) {
    return null;
  }
  return (
    <Banner
      tone={hasFailed ? 'error' : 'warn'}
      actions={
        <>
          {hasFailed && path !== '' && platform.openNotebook !== undefined && (
            <Button kind="link" icon="notebook" onClick={() => platform.openNotebook?.(path)}>
              {trans.__('Open it')}
            </Button>
          )}
          <Button kind="link" onClick={dismiss}>
            {trans.__('Dismiss')}
          </Button>
        </>
      }
    >
      {message}
    </Banner>
  );
}

function Taken({ view, info, busy, attempt }: Props): JSX.Element | null {
  const platform = usePlatform();
  const trans = useTrans();
  const user = useSelected(state => state.user);
  const path = useNotebookPath(view.id);
  const { client } = platform;
  const hand = recordOf(info?.notebook);
  const isTaken = info === null ? view.notebook?.hand === 'person' : textIn(hand, 'hand') === 'person';
  const open = path !== '' && platform.openNotebook !== undefined && (
    <Button kind="link" icon="notebook" onClick={() => platform.openNotebook?.(path)}>
      {trans.__('Open it')}
    </Button>
  );
  if (isTaken) {
    const mine = user !== null && textIn(hand, 'holder') === user.name;
    const waits = view.status === 'waiting' && view.reason === 'taken_over';
    const holder = plainLine(
      textIn(hand, 'display') || (view.notebook?.holder ?? '') || textIn(hand, 'holder')
    );
    return (
      <Banner
        tone={waits ? 'warn' : 'info'}
        actions={
          <>
            {open}
            {mine && (
              <Button
                kind={waits ? 'accept' : 'plain'}
                busy={busy}
                onClick={() => attempt(() => client.giveNotebook(view.id), trans.__('Given back.'))}
              >
                {trans.__('Give back')}
              </Button>
            )}
          </>
        }
      >
        {sentence(trans, mine, waits, holder || trans.__('Somebody'))}
      </Banner>
    );
  }
  return null;
}

function sentence(trans: Trans, mine: boolean, waits: boolean, who: string): string {
  if (mine) {
    return waits
      ? trans.__('The agent waits for the notebook: you have it.')
      : trans.__('You have the notebook. No agent changes it until you give it back.');
  }
  return waits
    ? trans.__('The agent waits for the notebook: %1 has it.', who)
    : trans.__('%1 has the notebook. No agent changes it until it is given back.', who);
}
