/** Every step of the work, newest first: what it did, and a way back to it or on from it. */
import React, { useEffect, useRef, useState } from 'react';

import type { Checkpoint } from '../../client';
import { dateTime, relative } from '../../format';
import { useNavigation } from '../../navigation';
import { plainLine } from '../../plain';
import { usePlatform, useTrans } from '../../platform';
import { Sheet } from '../publish/Sheet';
import { troubleOf } from '../session/trouble';
import { Button, Disclosure, Icon, IconButton } from '../ui';
import { Differences } from './Differences';
import { useCheckpoints } from './useCheckpoints';
import { cellsSaid } from './words';

interface SheetProps {
  session: string;
  onClose: () => void;
}

export function CheckpointsSheet({ session, onClose }: SheetProps): JSX.Element {
  const platform = usePlatform();
  const navigation = useNavigation();
  const trans = useTrans();
  const { list, trouble, reload } = useCheckpoints(session);
  const [open, setOpen] = useState<string | null>(null);
  const [doing, setDoing] = useState<string | null>(null);
  const [failed, setFailed] = useState<string | null>(null);
  const [said, setSaid] = useState('');
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);

  const attempt = (what: string, work: () => Promise<void>) => {
    setDoing(what);
    setFailed(null);
    setSaid('');
    work()
      .catch((error: unknown) => alive.current && setFailed(troubleOf(error)))
      .finally(() => alive.current && setDoing(null));
  };
  const restore = (one: Checkpoint) =>
    attempt(`restore ${one.sha}`, async () => {
      await platform.client.restoreCheckpoint(session, one.sha);
      if (alive.current) {
        setSaid(trans.__('The notebook is again what it was at “%1”.', plainLine(one.subject)));
        reload();
      }
    });
  const fork = (one: Checkpoint) =>
    attempt(`fork ${one.sha}`, async () => {
      const id = await platform.client.fork(session, undefined, one.sha);
      if (alive.current) {
        onClose();
        navigation.go({ view: 'session', id });
      }
    });
  const version = list?.[0]?.sha ?? '';
  return (
    <Sheet
      title={trans.__('Checkpoints')}
      onClose={onClose}
      footer={<Button onClick={onClose}>{trans.__('Close')}</Button>}
    >
      <div className="jp-Postdoc-Checkpoints-head">
        <p>{trans.__('Every step is a commit. Go back to one, or go on from it in a new session.')}</p>
        <IconButton icon="refresh" label={trans.__('Look again')} onClick={reload} />
      </div>
      {trouble !== null && (
        <p role="alert">
          {trouble}{' '}
          <Button kind="link" onClick={reload}>
            {trans.__('Retry')}
          </Button>
        </p>
      )}
      {failed !== null && <p role="alert">{failed}</p>}
      <p role="status" className="jp-Postdoc-Checkpoints-said">
        {said || (list === null && trouble === null ? trans.__('Reading the history…') : '')}
      </p>
      {list !== null && list.length === 0 && <p>{trans.__('There is no checkpoint yet.')}</p>}
      {list !== null && list.length > 0 && (
        <ol className="jp-Postdoc-Checkpoints" aria-label={trans.__('Checkpoints, newest first')}>
          {list.map((one, index) => (
            <Row
              key={one.sha}
              one={one}
              newest={index === 0}
              open={open === one.sha}
              onToggle={on => setOpen(on ? one.sha : null)}
              doing={doing}
              onRestore={() => restore(one)}
              onFork={() => fork(one)}
            >
              <Differences session={session} sha={one.sha} version={version} />
            </Row>
          ))}
        </ol>
      )}
    </Sheet>
  );
}

interface RowProps {
  one: Checkpoint;
  newest: boolean;
  open: boolean;
  onToggle: (open: boolean) => void;
  /** What is being done now, with whichever checkpoint. */
  doing: string | null;
  onRestore: () => void;
  onFork: () => void;
  children: React.ReactNode;
}

function Row({ one, newest, open, onToggle, doing, onRestore, onFork, children }: RowProps): JSX.Element {
  const { language } = usePlatform();
  const trans = useTrans();
  const [asks, setAsks] = useState(false);
  const asked = useRef(false);
  const yes = useRef<HTMLButtonElement>(null);
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    // The button that had the focus is gone.
    if (asks) {
      yes.current?.focus();
    } else if (asked.current) {
      first.current?.focus();
    }
    asked.current = asks;
  }, [asks]);
  const at = Date.parse(one.ts);
  const known = !Number.isNaN(at);
  const subject = plainLine(one.subject) || one.short;
  const facts = [
    plainLine(one.by) || trans.__('the agent'),
    known ? relative(at, Date.now(), language) : '',
    cellsSaid(trans, one.cells)
  ];
  return (
    <li>
      <Disclosure
        open={open}
        onToggle={onToggle}
        summary={
          <span className="jp-Postdoc-Checkpoints-what">
            <span className="jp-Postdoc-Checkpoints-subject">
              <Icon name="commit" />
              <span>{subject}</span>
              {newest && <span className="jp-Postdoc-Checkpoints-now">{trans.__('newest')}</span>}
            </span>
            <span className="jp-Postdoc-Small" title={known ? dateTime(at, language) : undefined}>
              <code>{one.short}</code> {facts.filter(Boolean).join(' · ')}
            </span>
          </span>
        }
      >
        <div className="jp-Postdoc-Checkpoints-body">
          {asks ? (
            // Asked in its place: a dialog of JupyterLab would be behind this one.
            <div className="jp-Postdoc-Checkpoints-sure" role="group" aria-label={trans.__('Go back?')}>
              <p>
                {trans.__(
                  'The notebook becomes what it was then. What stands there now is committed first, so you can come back to it. Results stay those of the last run until the notebook is run again.'
                )}
              </p>
              <div className="jp-Postdoc-Checkpoints-ways">
                <Button
                  kind="accept"
                  icon="undo"
                  ref={yes}
                  onClick={() => {
                    setAsks(false);
                    onRestore();
                  }}
                >
                  {trans.__('Restore “%1”', subject)}
                </Button>
                <Button onClick={() => setAsks(false)}>{trans.__('Cancel')}</Button>
              </div>
            </div>
          ) : (
            <div className="jp-Postdoc-Checkpoints-ways">
              <Button
                icon="undo"
                ref={first}
                busy={doing === `restore ${one.sha}`}
                disabled={doing !== null && doing !== `restore ${one.sha}`}
                aria-label={trans.__('Restore “%1”…', subject)}
                onClick={() => setAsks(true)}
              >
                {trans.__('Restore…')}
              </Button>
              <Button
                icon="branch"
                busy={doing === `fork ${one.sha}`}
                disabled={doing !== null && doing !== `fork ${one.sha}`}
                aria-label={trans.__('New session from here: “%1”', subject)}
                onClick={onFork}
              >
                {trans.__('New session from here')}
              </Button>
            </div>
          )}
          {children}
        </div>
      </Disclosure>
    </li>
  );
}
