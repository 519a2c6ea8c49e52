/** A picture from a session's blobs. */
import React, { useEffect, useRef, useState } from 'react';

import { usePlatform, useTrans } from '../../platform';
import { Button } from '../ui';
import { whenNear } from './near';

const SHOWN = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp']);

interface Props {
  session: string;
  blob: string;
  mediaType: string;
  title: string;
}

/** Fetched when it is near to being seen; a click shows it in its full size. */
export function Picture({ session, blob, mediaType, title }: Props): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [url, setUrl] = useState<string | null>(null);
  const [failed, setFailed] = useState(0);
  const [large, setLarge] = useState(false);
  const [near, setNear] = useState(false);
  const place = useRef<HTMLSpanElement>(null);
  const possible = SHOWN.has(mediaType);

  useEffect(() => (place.current === null ? undefined : whenNear(place.current, () => setNear(true))), []);

  useEffect(() => {
    if (!possible || !near) {
      return undefined;
    }
    let made: string | null = null;
    let alive = true;
    client.blob(session, blob).then(
      data => {
        if (alive) {
          // The type is ours, not the server's word for it: nothing but a picture comes of it.
          made = URL.createObjectURL(new Blob([data], { type: mediaType }));
          setUrl(made);
        }
      },
      () => alive && setFailed(n => (n === 0 ? 1 : n))
    );
    return () => {
      alive = false;
      if (made !== null) {
        URL.revokeObjectURL(made);
      }
    };
  }, [client, session, blob, mediaType, possible, near, failed]);

  const name = title || trans.__('Figure');
  if (!possible) {
    return <span>{trans.__('%1 (a kind of picture that is not shown here)', name)}</span>;
  }
  if (url === null) {
    return failed > 0 ? (
      <span className="jp-Postdoc-Picture jp-mod-failed">
        {trans.__('The picture “%1” could not be fetched.', name)}{' '}
        <Button kind="link" onClick={() => setFailed(failed + 1)}>
          {trans.__('Try again')}
        </Button>
      </span>
    ) : (
      <span
        ref={place}
        className="jp-Postdoc-Picture jp-mod-loading"
        aria-label={trans.__('Loading %1', name)}
        role="img"
      />
    );
  }
  return (
    <button
      type="button"
      className={`jp-Postdoc-Picture${large ? ' jp-mod-large' : ''}`}
      aria-pressed={large}
      title={large ? trans.__('Show smaller') : trans.__('Show larger')}
      onClick={() => setLarge(!large)}
    >
      <img src={url} alt={name} />
    </button>
  );
}
