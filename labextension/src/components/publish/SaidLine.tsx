/** A sign and its words on one line. */
import React from 'react';

import { EXTERNAL, safeUrl } from '../../links';
import { useTrans } from '../../platform';
import type { IconName } from '../ui';
import { Icon } from '../ui';
import type { Said } from './words';

export function SaidLine({ said, url }: { said: Said; url?: string }): JSX.Element {
  const address = safeUrl(url);
  return (
    <span className={`jp-Postdoc-Said jp-mod-${said.tone}`}>
      <Icon name={said.icon} />
      {address ? (
        <a href={address} {...EXTERNAL}>
          {said.text}
        </a>
      ) : (
        <span>{said.text}</span>
      )}
    </span>
  );
}

/** A link that leaves the page, or nothing when its address is not to be trusted. */
export function OutLink(props: {
  url: string | undefined;
  icon: IconName;
  children: React.ReactNode;
}): JSX.Element | null {
  const trans = useTrans();
  const url = safeUrl(props.url);
  return url === null ? null : (
    <a
      className="jp-Postdoc-Button jp-mod-link"
      href={url}
      title={trans.__('%1 (opens in a new tab)', url)}
      {...EXTERNAL}
    >
      <Icon name={props.icon} />
      <span>{props.children}</span>
    </a>
  );
}
