/** A short help, over the panel. */
import React, { useEffect, useRef } from 'react';

import { useTrans } from '../../platform';
import { IconButton } from '../ui';

/** Esc or the cross closes it; the opener gets the focus back. */
export function Help({ onClose }: { onClose: () => void }): JSX.Element {
  const trans = useTrans();
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    title.current?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) {
        before.focus();
      }
    };
  }, []);
  const keys: readonly (readonly [string, string])[] = [
    [trans.__('↑ ↓'), trans.__('move in the list')],
    [trans.__('Enter'), trans.__('open the session; send the message')],
    [trans.__('F2, Del'), trans.__('rename, delete the session')],
    [trans.__('Shift F10'), trans.__('actions for the session')],
    [trans.__('Alt ↑ ↓'), trans.__('previous, next session')]
  ];
  return (
    <div
      className="jp-Postdoc-Help"
      role="dialog"
      aria-labelledby="jp-Postdoc-Help-title"
      onKeyDown={event => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          onClose();
        }
      }}
    >
      <div className="jp-Postdoc-Help-head">
        <h2 id="jp-Postdoc-Help-title" tabIndex={-1} ref={title}>
          {trans.__('How it works')}
        </h2>
        <IconButton icon="close" label={trans.__('Close help')} onClick={onClose} />
      </div>
      <ol>
        <li>{trans.__('New research: describe a question, or begin with a template.')}</li>
        <li>
          {trans.__(
            'The agent plans, writes a notebook cell by cell, runs it and commits each step. You see each of them.'
          )}
        </li>
        <li>
          {trans.__(
            'Write to it at any time: it reads you at its next step. What leaves the machine is asked for first.'
          )}
        </li>
        <li>{trans.__('It works on the server. You may close this page and come back.')}</li>
      </ol>
      <dl>
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
