/** How an agent says something in a room: two lines to paste, neither of which holds a token. */
import React from 'react';

import { usePlatform, useTrans } from '../../platform';
import { IconButton } from '../ui';
import { hints } from './rooms';

export function RoomHint({ room }: { room: string }): JSX.Element {
  const platform = usePlatform();
  const trans = useTrans();
  const { cli, curl } = hints(room, platform.client.url('api/messages'));
  return (
    <div className="jp-Postdoc-RoomHint">
      <p>{trans.__('Agents speak here from a terminal or a script:')}</p>
      {[cli, curl].map(line => (
        <div className="jp-Postdoc-RoomHint-line" key={line}>
          <code>{line}</code>
          <IconButton
            icon="copy"
            label={trans.__('Copy this command')}
            onClick={() => void platform.copy(line)}
          />
        </div>
      ))}
    </div>
  );
}
