/** The page of a notebook in a frame that is an origin of its own: what runs in it cannot reach Jupyter. */
import React, { useEffect, useRef, useState } from 'react';

import { usePlatform, useTrans } from '../../platform';
import { Icon, classes } from '../ui';
import { useDark } from './theme';

/** Never `allow-same-origin`: with it, the notebook's code would be the user. */
export const RIGHTS = 'allow-scripts allow-forms allow-modals allow-popups allow-downloads';

interface Props {
  /** As the server gave it. */
  url: string;
  editing: boolean;
  title: string;
  cell?: string;
  /** Said over the page while another one is on its way. */
  veil: string | null;
}

export function NotebookFrame({ url, editing, title, cell, veil }: Props): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const host = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLIFrameElement>(null);
  const dark = useDark(host);
  const [first] = useState(dark);
  const [loaded, setLoaded] = useState(false);
  useEffect(() => {
    // The frame's origin is nobody's, so that it has no name to send to. The word is no secret.
    frame.current?.contentWindow?.postMessage({ type: 'postdoc:theme', theme: dark ? 'dark' : 'light' }, '*');
  }, [dark, loaded]);
  const said = veil ?? (loaded ? null : trans.__('Loading the notebook…'));
  return (
    <div className="jp-Postdoc-Notebook-frame" ref={host} aria-busy={said !== null}>
      <iframe
        ref={frame}
        title={editing ? trans.__('Notebook “%1”, for editing', title) : trans.__('Notebook “%1”', title)}
        className={classes(first ? 'jp-mod-dark' : 'jp-mod-light')}
        sandbox={RIGHTS}
        referrerPolicy="no-referrer"
        src={addressOf(client.url(''), url, first, cell)}
        onLoad={() => setLoaded(true)}
      />
      {said !== null && (
        <p className="jp-Postdoc-Notebook-veil" role="status">
          <Icon name="spinner" />
          <span>{said}</span>
        </p>
      )}
    </div>
  );
}

/** The page's address, with the theme it is to have and the cell to begin at. */
export function addressOf(base: string, url: string, dark: boolean, cell?: string): string {
  const address = new URL(url, base);
  address.searchParams.set('theme', dark ? 'dark' : 'light');
  if (cell !== undefined && /^\w+$/.test(cell)) {
    address.hash = `scrollTo=${cell}`;
  }
  return address.href;
}
