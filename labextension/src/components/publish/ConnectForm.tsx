/** A token, or the login of gh. The token is in the field until it is sent, and nowhere else on this side. */
import React, { useId, useRef, useState } from 'react';

import type { GitHubConnect, GitHubStatus, Right } from '../../client';
import { EXTERNAL, safeUrl } from '../../links';
import { usePlatform, useTrans } from '../../platform';
import { Field } from '../form/Field';
import { troubleOf } from '../session/trouble';
import { Button, Disclosure, Icon } from '../ui';
import { Option } from './PublishSheet';

interface ConnectFormProps {
  status: GitHubStatus;
  onConnected: (status: GitHubStatus) => void;
}

export function ConnectForm({ status, onConnected }: ConnectFormProps): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const [store, setStore] = useState<'file' | 'keyring'>('file');
  const [busy, setBusy] = useState<'token' | 'gh' | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const { gh, keyring } = status.choices;

  const send = (how: GitHubConnect, which: 'token' | 'gh') => {
    setBusy(which);
    setTrouble(null);
    client
      .connectGitHub(how)
      .then(onConnected, (error: unknown) => {
        setTrouble(troubleOf(error));
        field.current?.focus();
      })
      .finally(() => setBusy(null));
  };
  const submit = () => {
    const input = field.current;
    const token = input?.value.trim() ?? '';
    if (input === null || busy !== null) {
      return;
    }
    input.value = '';
    if (token === '') {
      setTrouble(trans.__('Paste a token first.'));
      input.focus();
      return;
    }
    send({ token, store }, 'token');
  };
  const body = (
    <div className="jp-Postdoc-SheetForm">
      {gh.available && (
        <div className="jp-Postdoc-Gh">
          <Button
            kind={status.connected ? 'plain' : 'accept'}
            icon="shell"
            busy={busy === 'gh'}
            disabled={busy === 'token'}
            onClick={() => send({ source: 'gh' }, 'gh')}
          >
            {gh.login ? trans.__('Use the login of gh (%1)', gh.login) : trans.__('Use the login of gh')}
          </Button>
          <span className="jp-Postdoc-Small">
            {trans.__('GitHub’s command line is logged in on this server. Its token is not copied.')}
          </span>
        </div>
      )}
      <form
        className="jp-Postdoc-SheetForm"
        noValidate
        autoComplete="off"
        onSubmit={event => {
          event.preventDefault();
          submit();
        }}
      >
        <Field
          label={gh.available ? trans.__('Or a token') : trans.__('Token')}
          name="token"
          error={trouble ?? undefined}
          help={trans.__('It is tried out first, then kept on the server. It is never shown again.')}
        >
          {wiring => (
            <input
              {...wiring}
              ref={field}
              className="jp-Postdoc-Input"
              type="password"
              autoComplete="off"
              autoCapitalize="off"
              spellCheck={false}
              data-1p-ignore=""
              data-lpignore="true"
              data-autofocus={status.connected ? undefined : ''}
            />
          )}
        </Field>
        {keyring && (
          <fieldset className="jp-Postdoc-Choice">
            <legend className="jp-Postdoc-Field-label">{trans.__('Keep it in')}</legend>
            <Option
              group={id}
              checked={store === 'file'}
              onChange={() => setStore('file')}
              title={trans.__('A file')}
              text={trans.__('Of the server’s user, readable by nobody else.')}
            />
            <Option
              group={id}
              checked={store === 'keyring'}
              onChange={() => setStore('keyring')}
              title={trans.__('The system’s keyring')}
              text={trans.__('Encrypted by the operating system.')}
            />
          </fieldset>
        )}
        <div>
          <Button
            kind={gh.available || status.connected ? 'plain' : 'accept'}
            icon="key"
            submit
            busy={busy === 'token'}
            disabled={busy === 'gh'}
          >
            {busy === 'token' ? trans.__('Trying it out…') : trans.__('Connect')}
          </Button>
        </div>
      </form>
      <MakeToken status={status} />
    </div>
  );
  return status.connected ? (
    <Disclosure summary={trans.__('Connect with another token')}>{body}</Disclosure>
  ) : (
    body
  );
}

/** What has to be ticked, and what each is for. */
export function Rights({ rights }: { rights: readonly Right[] }): JSX.Element {
  return (
    <ul className="jp-Postdoc-Tickets">
      {rights.map(right => (
        <li key={right.name}>
          <strong>{right.name}</strong> {right.needed && <span>{right.needed}</span>}
        </li>
      ))}
    </ul>
  );
}

/** Where a token is made, and what has to be ticked there. */
function MakeToken({ status }: { status: GitHubStatus }): JSX.Element {
  const trans = useTrans();
  const url = safeUrl(status.tokenUrl);
  // Of a token with scopes the server tells those; the page makes tokens with permissions.
  const fine = status.rights.filter(right => right.name.includes(':'));
  return (
    <section className="jp-Postdoc-MakeToken" aria-label={trans.__('How to get a token')}>
      <p>
        {url ? (
          <a href={url} {...EXTERNAL}>
            {trans.__('Make a token on %1', status.host)}
            <Icon name="external" />
          </a>
        ) : (
          trans.__('Make a token on %1, in Settings > Developer settings.', status.host)
        )}
      </p>
      {fine.length > 0 && (
        <>
          <p>
            {trans.__(
              'Under “Repository access” choose “All repositories”: with fewer, none can be made. Then tick these permissions:'
            )}
          </p>
          <Rights rights={fine} />
        </>
      )}
    </section>
  );
}
