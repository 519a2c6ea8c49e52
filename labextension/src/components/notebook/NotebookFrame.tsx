/** The page of a notebook in a frame that is an origin of its own: what runs in it cannot reach Jupyter. */
import type { RefObject } from 'react';
import React, { useEffect, useRef, useState } from 'react';

import { EXTERNAL, safeUrl } from '../../links';
import { usePlatform, useTrans } from '../../platform';
import { recordOf, textIn } from '../../store/parts';
import { Icon, classes } from '../ui';
import { useDark } from './theme';

/**
 * Never `allow-same-origin`: with it, the notebook's code would be the user. No popups: the address of a window could
 * carry anything away, so the page asks for it, and the person decides.
 */
export const RIGHTS = 'allow-scripts allow-forms allow-modals allow-downloads';

const PATIENCE_MS = 15_000;
/** So long a connection may be away before anything is said; milliseconds. */
const BLINK_MS = 700;

/** A place in the page as our script in it tells it: pixels, and the id of a cell. */
const PLACE = /^-?\d{1,7} [\w-]{1,60}$/;

interface Props {
  /** As the server gave it. */
  url: string;
  editing: boolean;
  title: string;
  cell?: string;
  /** Said over the page while another one is on its way. */
  veil: string | null;
  /** Where it begins: what `onPlace` of the page before it said last. */
  place?: string;
  /** Another page is over this one, and takes its place as soon as it can be seen. Nothing can be done in it. */
  leaving?: boolean;
  onLoaded?: () => void;
  onPlace?: (place: string) => void;
  /** The page says that it cannot go on. */
  onSaid: (event: Ending) => void;
}

export function NotebookFrame(props: Props): JSX.Element {
  const { url, editing, title, cell, veil, place, leaving, onLoaded, onPlace, onSaid } = props;
  const platform = usePlatform();
  const { client } = platform;
  const trans = useTrans();
  const host = useRef<HTMLDivElement>(null);
  const frame = useRef<HTMLIFrameElement>(null);
  const dark = useDark(host);
  const [name] = useState([dark ? 'postdoc-dark' : 'postdoc-light', place].filter(Boolean).join(' '));
  const [loaded, setLoaded] = useState(false);
  const [begun, setBegun] = useState(false);
  const [connected, setConnected] = useState(true);
  const away = useLasting(!connected, BLINK_MS);
  useEffect(() => {
    // The notebook says when it is there; what stands in for one that cannot be shown may say nothing.
    const timer = begun ? window.setTimeout(() => setLoaded(true), PATIENCE_MS) : undefined;
    return () => window.clearTimeout(timer);
  }, [begun]);
  useEffect(() => {
    // The frame's origin is nobody's, so that it has no name to send to. The word is no secret.
    frame.current?.contentWindow?.postMessage({ type: 'postdoc:theme', theme: dark ? 'dark' : 'light' }, '*');
  }, [dark, loaded]);
  const told = useRef(onLoaded);
  told.current = onLoaded;
  useEffect(() => {
    if (loaded) {
      told.current?.();
    }
  }, [loaded]);
  useEffect(() => {
    if (loaded && cell !== undefined) {
      frame.current?.contentWindow?.postMessage({ type: 'postdoc:cell', name: cell }, '*');
    }
  }, [cell, loaded]);
  useMessages(frame, {
    loaded: () => setLoaded(true),
    connected: () => setConnected(true),
    lost: () => setConnected(false),
    closed: () => {
      setConnected(false);
      onSaid('closed');
    },
    expired: () => onSaid('expired'),
    stopped: () => onSaid('stopped'),
    place: where => onPlace?.(where),
    open: async url => {
      const yes = await platform.confirm({
        title: trans.__('Open this address?'),
        body: trans.__('The notebook leads to %1', url),
        accept: trans.__('Open')
      });
      if (yes) {
        window.open(url, EXTERNAL.target, 'noopener,noreferrer');
      }
    }
  });
  const said =
    veil ??
    (loaded
      ? away
        ? trans.__('Connecting to the notebook again…')
        : null
      : trans.__('Loading the notebook…'));
  return (
    <div
      className={classes('jp-Postdoc-Notebook-frame', leaving && 'jp-mod-leaving')}
      ref={host}
      aria-busy={said !== null}
      aria-hidden={leaving || undefined}
      {...(leaving ? { inert: '' } : {})}
    >
      <iframe
        ref={frame}
        name={name}
        title={editing ? trans.__('Notebook “%1”, for editing', title) : trans.__('Notebook “%1”', title)}
        className={classes(!loaded && 'jp-mod-loading')}
        sandbox={RIGHTS}
        referrerPolicy="no-referrer"
        src={new URL(url, client.url('')).href}
        onLoad={() => setBegun(true)}
      />
      {said !== null && !leaving && (
        <p className="jp-Postdoc-Notebook-veil" role="status">
          <Icon name="spinner" />
          <span>{said}</span>
        </p>
      )}
    </div>
  );
}

/** Whether it has been so for that long. */
function useLasting(now: boolean, ms: number): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    setLasting(false);
    const timer = now ? window.setTimeout(() => setLasting(true), ms) : undefined;
    return () => window.clearTimeout(timer);
  }, [now, ms]);
  return lasting && now;
}

/**
 * How a page ends: its address holds no longer; there is no editor behind it; the editor has sent it away for good.
 */
export type Ending = 'expired' | 'stopped' | 'closed';

const PLAIN = ['loaded', 'connected', 'lost', 'closed', 'expired', 'stopped'] as const;

type Heard = Record<(typeof PLAIN)[number], () => void> & {
  place: (where: string) => void;
  open: (url: string) => Promise<void>;
};

/** What the page in the frame says. All of it may come from the notebook's code, which nobody trusts. */
function useMessages(frame: RefObject<HTMLIFrameElement>, heard: Heard): void {
  const newest = useRef(heard);
  newest.current = heard;
  useEffect(() => {
    let asking = false;
    const listen = (event: MessageEvent<unknown>) => {
      const message = recordOf(event.data);
      if (event.source !== frame.current?.contentWindow || message.type !== 'postdoc-notebook') {
        return;
      }
      const { open, place, ...others } = newest.current;
      const what = textIn(message, 'event');
      if (what === 'open') {
        // Only after a click, and one question at a time.
        const url = safeUrl(textIn(message, 'url'));
        if (url !== null && !asking && navigator.userActivation?.isActive !== false) {
          asking = true;
          void open(url).finally(() => (asking = false));
        }
      } else if (what === 'place') {
        const where = textIn(message, 'place');
        if (PLACE.test(where)) {
          place(where);
        }
      } else {
        const plain = PLAIN.find(one => one === what);
        if (plain !== undefined) {
          others[plain]();
        }
      }
    };
    window.addEventListener('message', listen);
    return () => window.removeEventListener('message', listen);
  }, [frame]);
}
