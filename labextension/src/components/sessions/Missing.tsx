/** Texts about a server that does not answer as it should, for the list and for the banner. */
import React, { useEffect, useState } from 'react';

import { usePlatform, useSelected, useTrans } from '../../platform';
import { IconButton } from '../ui';

const COMMAND = 'jupyter server extension enable jupyterlab_postdoc';

/** "The server part of this extension is not enabled. Run `…`." */
export function MissingText(): JSX.Element {
  const trans = useTrans();
  const [before, after] = trans
    .__('The server part of this extension is not enabled. Run %1.', '\u0000')
    .split('\u0000');
  return (
    <span>
      {before}
      <code className="jp-Postdoc-Command">{COMMAND}</code>
      {after}
    </span>
  );
}

/** Puts the command on the clipboard. */
export function CopyCommand(): JSX.Element {
  const trans = useTrans();
  const { copy } = usePlatform();
  const [copied, setCopied] = useState(false);
  return (
    <IconButton
      icon={copied ? 'check' : 'copy'}
      label={copied ? trans.__('Copied') : trans.__('Copy the command')}
      onClick={() => void copy(COMMAND).then(() => setCopied(true))}
    />
  );
}

/**
 * "Reconnecting in 4 s.", counted down; "Reconnecting…" while it is tried. It is no live region, and inside of one it
 * is not read out each second.
 */
export function Reconnecting(): JSX.Element {
  const trans = useTrans();
  const retryAt = useSelected(state => state.connection.retryAt);
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    setNow(Date.now());
    if (retryAt === null) {
      return;
    }
    const timer = window.setInterval(() => setNow(Date.now()), 250);
    return () => window.clearInterval(timer);
  }, [retryAt]);
  const seconds = retryAt === null ? 0 : Math.ceil((retryAt - now) / 1000);
  return (
    <span className="jp-Postdoc-Reconnecting" aria-live="off">
      {seconds > 0 ? trans.__('Reconnecting in %1 s.', seconds) : trans.__('Reconnecting…')}
    </span>
  );
}
