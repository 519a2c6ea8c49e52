/** The connection as a dot and a word. */
import React from 'react';

import type { Connection } from '../../model';
import { useSelected, useTrans } from '../../platform';
import type { Trans } from '../../platform';

type Look = 'connected' | 'trying' | 'offline';

const LOOKS: Record<Connection['state'], Look> = {
  connecting: 'trying',
  connected: 'connected',
  reconnecting: 'trying',
  offline: 'offline',
  expired: 'offline',
  missing: 'offline'
};

function textOf(trans: Trans, state: Connection['state']): string {
  switch (state) {
    case 'connecting':
      return trans.__('Connecting…');
    case 'connected':
      return trans.__('Connected');
    case 'reconnecting':
      return trans.__('Reconnecting…');
    default:
      return trans.__('Offline');
  }
}

/** The dot's shape differs too: full, a ring that is half open, an empty ring. */
export function ConnectionState(): JSX.Element {
  const trans = useTrans();
  const state = useSelected(all => all.connection.state);
  const text = textOf(trans, state);
  return (
    <span className={`jp-Postdoc-Connection jp-mod-${LOOKS[state]}`} title={text}>
      <span className="jp-Postdoc-Connection-dot" aria-hidden="true" />
      <span className="jp-Postdoc-Connection-text">{text}</span>
    </span>
  );
}
