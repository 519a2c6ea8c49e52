/** Over the page of a notebook: who has it, how it is, and what can be done. */
import React, { useState } from 'react';

import { usePlatform, useSelected, useTrans } from '../../platform';
import { CheckpointsSheet } from '../checkpoints';
import type { MenuItem } from '../ui';
import { Button, Icon, IconButton, Menu, classes } from '../ui';
import type { NotebookDesk, Shown } from './desk';
import { useNotebookPath } from './path';
import type { Said } from './words';
import { handSaid, kernelSaid, sandboxSaid } from './words';

interface Props {
  session: string;
  title: string;
  shown: Shown;
  desk: NotebookDesk;
  onSession?: () => void;
}

export function Toolbar({ session, title, shown, desk, onSession }: Props): JSX.Element {
  const platform = usePlatform();
  const trans = useTrans();
  const path = useNotebookPath(session);
  const waits = useSelected(({ views: { [session]: view } }) => view?.reason === 'taken_over');
  const { page, doing, switching } = shown;
  // A run that waits for the notebook is at work all the same: it goes on when it gets it.
  const status = shown.status && { ...shown.status, running: shown.status.running || waits };
  const isOpen = page.at === 'open';
  const mayTake = status !== null && isOpen && !status.mine && status.hand === 'agent';
  const quiet = status !== null && (status.mine || (status.hand === 'agent' && !status.running));

  const sure = async (ask: { title: string; body: string; accept: string }, work: () => Promise<void>) => {
    if (await platform.confirm(ask)) {
      await work();
    }
  };
  const [steps, setSteps] = useState(false);
  const items: (MenuItem | 'separator' | false)[] = [
    onSession !== undefined && {
      label: trans.__('Show the session'),
      icon: 'chat',
      onSelect: onSession
    },
    platform.openFile !== undefined &&
      path !== '' && {
        label: trans.__('Open the file'),
        icon: 'file',
        onSelect: () => platform.openFile?.(path)
      },
    {
      label: trans.__('Open in a browser tab'),
      icon: 'external',
      onSelect: () =>
        void window.open(
          platform.client.url(`notebook/${encodeURIComponent(session)}`),
          '_blank',
          'noopener,noreferrer'
        )
    },
    'separator',
    {
      label: trans.__('Load the page again'),
      icon: 'refresh',
      onSelect: () => void desk.open()
    },
    {
      label: trans.__('Restart the kernel…'),
      icon: 'refresh',
      disabled: !quiet || !isOpen || doing !== null,
      onSelect: () =>
        void sure(
          {
            title: trans.__('Restart the kernel?'),
            body: trans.__('All variables of the notebook are lost. What is written stays.'),
            accept: trans.__('Restart')
          },
          () => desk.restart('kernel')
        )
    },
    {
      label: trans.__('Restart the editor…'),
      icon: 'refresh',
      disabled: !quiet || !isOpen || doing !== null,
      onSelect: () =>
        void sure(
          {
            title: trans.__('Restart the editor?'),
            body: trans.__(
              'The notebook is saved and its processes are started anew. All variables of the notebook are lost.'
            ),
            accept: trans.__('Restart')
          },
          () => desk.restart('editor')
        )
    },
    {
      label: trans.__('Stop the notebook…'),
      icon: 'stop',
      disabled: !quiet || !isOpen || doing !== null,
      onSelect: () =>
        void sure(
          {
            title: trans.__('Stop the notebook?'),
            body: trans.__(
              'It is saved, and its processes end: all variables are lost. Opening it again starts it anew.'
            ),
            accept: trans.__('Stop')
          },
          desk.close
        )
    }
  ];

  return (
    <div className="jp-Postdoc-Notebook-bar" role="toolbar" aria-label={trans.__('Notebook “%1”', title)}>
      {status !== null && (isOpen || status.hand === 'person') ? (
        <>
          <Word said={handSaid(trans, status)} className="jp-Postdoc-Notebook-hand" live />
          {isOpen && <Word said={kernelSaid(trans, status)} className="jp-Postdoc-Notebook-kernel" />}
          {isOpen && <Word said={sandboxSaid(trans, status)} className="jp-Postdoc-Notebook-box" />}
        </>
      ) : (
        <span className="jp-Postdoc-Notebook-word">{trans.__('Notebook')}</span>
      )}
      <span className="jp-Postdoc-Notebook-space" />
      {isOpen && status?.kernel === 'busy' && (
        <IconButton
          icon="stop"
          label={trans.__('Interrupt what runs')}
          disabled={doing === 'interrupt'}
          onClick={() => void desk.interrupt()}
        />
      )}
      {mayTake && (
        <Button
          icon="hand"
          busy={doing === 'take' || switching}
          disabled={doing !== null && doing !== 'take'}
          title={
            status.running
              ? trans.__('The agent finishes its present step and waits. Nothing of what it did is lost.')
              : trans.__('Edit the notebook and run its cells; no agent changes it meanwhile.')
          }
          onClick={() => void desk.take()}
        >
          {trans.__('Take over')}
        </Button>
      )}
      {status?.mine && (
        <Button
          kind="accept"
          icon="undo"
          busy={doing === 'give'}
          title={
            status.running
              ? trans.__('What you changed is saved as a step, and the agent goes on from there.')
              : trans.__('What you changed is saved as a step.')
          }
          onClick={() => void desk.give()}
        >
          {trans.__('Give back')}
        </Button>
      )}
      {path !== '' && (
        <IconButton icon="commit" label={trans.__('Checkpoints')} onClick={() => setSteps(true)} />
      )}
      <Menu
        label={trans.__('More about the notebook')}
        items={items.filter((item): item is MenuItem | 'separator' => item !== false)}
      />
      {steps && <CheckpointsSheet session={session} onClose={() => setSteps(false)} />}
    </div>
  );
}

/** A sign with words; in little room the words of some are only heard. */
function Word({ said, className, live }: { said: Said; className: string; live?: boolean }): JSX.Element {
  return (
    <span
      className={classes('jp-Postdoc-Notebook-word', `jp-mod-${said.tone}`, className)}
      title={`${said.text}. ${said.title}`}
      role={live ? 'status' : undefined}
    >
      <Icon name={said.icon} />
      <span className="jp-Postdoc-Notebook-text">{said.text}</span>
    </span>
  );
}
