/** How GitHub is connected: as whom, with which rights; connecting, and disconnecting. */
import React, { useEffect, useState } from 'react';

import type { GitHubStatus } from '../../client';
import { EXTERNAL, safeUrl } from '../../links';
import { useNavigation, useOverlay } from '../../navigation';
import { usePlatform, useTrans } from '../../platform';
import type { Trans } from '../../platform';
import { troubleOf } from '../session/trouble';
import { Button, Card, Disclosure, Icon } from '../ui';
import { ConnectForm, Rights } from './ConnectForm';
import { useGitHub } from './github';
import { Sheet } from './Sheet';
import { SaidLine } from './SaidLine';
import type { Said } from './words';

/** The dialog, while it is asked for. */
export function GitHubOverlay(): JSX.Element | null {
  const navigation = useNavigation();
  return useOverlay() === 'github' ? <GitHubSheet onClose={() => navigation.show(null)} /> : null;
}

export function GitHubSheet({ onClose }: { onClose: () => void }): JSX.Element {
  const trans = useTrans();
  const { status, problem, loading, load, take } = useGitHub();
  const [done, setDone] = useState('');
  useEffect(() => load(), [load]);
  const connected = status?.connected === true;
  const taken = (now: GitHubStatus, text: string) => {
    take(now);
    setDone(text);
  };
  return (
    <Sheet
      title={trans.__('GitHub')}
      onClose={onClose}
      footer={
        <Button kind={connected ? 'accept' : 'plain'} onClick={onClose}>
          {connected ? trans.__('Done') : trans.__('Close')}
        </Button>
      }
    >
      <p
        role="status"
        className={done === '' || connected ? 'jp-Postdoc-hidden' : 'jp-Postdoc-Said jp-mod-good'}
      >
        {done !== '' && <Icon name="check" />}
        <span>{done}</span>
      </p>
      {status === null ? (
        problem !== null ? (
          <Card
            tone="error"
            role="alert"
            title={problem.error}
            actions={<Button onClick={() => load(true)}>{trans.__('Retry')}</Button>}
          >
            {problem.next}
          </Card>
        ) : (
          <p role="status">{loading ? trans.__('Asking how GitHub is connected…') : ''}</p>
        )
      ) : (
        <>
          <Standing status={status} reload={() => load(true)} loading={loading} />
          <ConnectForm status={status} onConnected={now => taken(now, connectedText(trans, now))} />
          {status.mine && (
            <Disconnect onDone={now => taken(now, trans.__('Disconnected. The token was removed here.'))} />
          )}
        </>
      )}
    </Sheet>
  );
}

function connectedText(trans: Trans, { account, host }: GitHubStatus): string {
  return account ? trans.__('Connected as %1.', account.login) : trans.__('Connected to %1.', host);
}

/** Where the token comes from, as part of a sentence. */
function sourceText(trans: Trans, source: string | null): string {
  const all: Record<string, string> = {
    stored: trans.__('by a token that you have stored on this server'),
    keyring: trans.__('by a token in the system’s keyring'),
    gh: trans.__('by the login of gh'),
    file: trans.__('by the server’s token file'),
    environment: trans.__('by the token in the server’s environment'),
    app: trans.__('by the server’s GitHub App')
  };
  return all[source ?? ''] ?? '';
}

function Standing(props: { status: GitHubStatus; reload: () => void; loading: boolean }): JSX.Element {
  const { status, reload, loading } = props;
  const trans = useTrans();
  const { account, host, problem, rights, missing, owners, connected } = status;
  const page = safeUrl(account?.url);
  const untold = rights.every(right => right.ok === null);
  const mayOwn = owners.filter(one => one.mayCreate !== false).map(one => one.login);
  const mayNot = owners.filter(one => one.mayCreate === false).map(one => one.login);
  return (
    <section className="jp-Postdoc-Standing" aria-label={trans.__('How it stands')}>
      <p className={`jp-Postdoc-Said jp-mod-${connected ? 'good' : 'plain'}`}>
        <Icon name={connected ? 'check' : 'plug'} />
        <span>
          {connected ? (
            <>
              {account ? trans.__('Connected to %1 as', host) : trans.__('Connected to %1', host)}{' '}
              {account &&
                (page ? (
                  <a href={page} {...EXTERNAL}>
                    {account.login}
                  </a>
                ) : (
                  account.login
                ))}
              {account?.name && account.name !== account.login && ` (${account.name})`}
              {sourceText(trans, status.source) && `, ${sourceText(trans, status.source)}`}.
            </>
          ) : (
            trans.__('Not connected to %1. Your work is saved on this machine; nothing is lost.', host)
          )}
        </span>
      </p>
      {problem !== null && (
        <Card
          tone="warn"
          role="alert"
          title={problem.error}
          actions={
            <Button busy={loading} onClick={reload}>
              {trans.__('Ask again')}
            </Button>
          }
        >
          {problem.next}
        </Card>
      )}
      {connected && owners.length > 0 && (
        <p>
          {mayOwn.length > 0 && trans.__('Repositories can be made for: %1.', mayOwn.join(', '))}{' '}
          {mayNot.length > 0 && trans.__('Not allowed for: %1.', mayNot.join(', '))}
        </p>
      )}
      {connected && rights.length > 0 && untold && (
        <Disclosure
          summary={trans.__('GitHub does not tell which rights this token has. It needs %1.', rights.length)}
        >
          <Rights rights={rights} />
        </Disclosure>
      )}
      {connected && rights.length > 0 && !untold && (
        <ul className="jp-Postdoc-Rights" aria-label={trans.__('Rights')}>
          {rights.map(right => (
            <li key={right.name}>
              <SaidLine said={rightSaid(trans, right.name, right.ok)} />
              {right.ok !== true && right.needed && <span className="jp-Postdoc-Small">{right.needed}</span>}
            </li>
          ))}
        </ul>
      )}
      {missing.length > 0 && (
        <ul className="jp-Postdoc-PublishNotes" aria-label={trans.__('What is missing')}>
          {missing.map((sentence, index) => (
            <li key={index}>
              <Icon name="warn" />
              <span>{sentence}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function rightSaid(trans: Trans, name: string, ok: boolean | null): Said {
  if (ok === true) {
    return { icon: 'check', tone: 'good', text: trans.__('%1: ok', name) };
  }
  return ok === false
    ? { icon: 'error', tone: 'bad', text: trans.__('%1: missing', name) }
    : { icon: 'help', tone: 'plain', text: trans.__('%1: unknown, GitHub does not tell', name) };
}

/** Asks once more, here: a dialog of the page would lie below this one. */
function Disconnect({ onDone }: { onDone: (status: GitHubStatus) => void }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const go = () => {
    setBusy(true);
    client.disconnectGitHub().then(
      now => {
        setAsking(false);
        onDone(now);
      },
      (error: unknown) => {
        setBusy(false);
        setTrouble(troubleOf(error));
      }
    );
  };
  if (!asking) {
    return (
      <p>
        <Button kind="warn" icon="plug" onClick={() => setAsking(true)}>
          {trans.__('Disconnect…')}
        </Button>
      </p>
    );
  }
  return (
    <Card
      tone="warn"
      title={trans.__('Disconnect GitHub?')}
      actions={
        <>
          <Button kind="warn" busy={busy} onClick={go}>
            {trans.__('Disconnect')}
          </Button>
          <Button autoFocus onClick={() => setAsking(false)}>
            {trans.__('Stay connected')}
          </Button>
        </>
      }
    >
      <p>
        {trans.__(
          'The token is removed from this server. It stays valid until you delete it on GitHub. What is published stays.'
        )}
      </p>
      {trouble !== null && <p role="alert">{trouble}</p>}
    </Card>
  );
}
