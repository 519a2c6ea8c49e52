/** The registered repositories; finding more of them on GitHub, adding one by its address, taking one out. */
import React, { useEffect, useRef, useState } from 'react';

import type { AvailableRepository, Repository } from '../../client';
import { relative } from '../../format';
import type { Problem } from '../../model';
import { useNavigation } from '../../navigation';
import { usePlatform, useTrans } from '../../platform';
import { plainLine } from '../../plain';
import { problemFrom } from '../form/problems';
import { Button, Icon, IconButton } from '../ui';
import { Sheet } from './Sheet';
import { visibility } from './words';

interface RepositoriesProps {
  repositories: readonly Repository[];
  reload: () => Promise<void>;
  onClose: () => void;
  onChoose: (repository: Repository) => void;
  onRemoved: (id: string) => void;
}

/** `owner/name`, or an address: something that can be added as it is. */
const ADDRESS = /^(https?:\/\/\S+|file:\/\/\S+|[A-Za-z0-9][\w-]*\/[\w.-]+)$/;

export function RepositoriesSheet(props: RepositoriesProps): JSX.Element {
  const { repositories, reload, onClose, onChoose, onRemoved } = props;
  const { client, language } = usePlatform();
  const trans = useTrans();
  const navigation = useNavigation();
  const [query, setQuery] = useState('');
  const [found, setFound] = useState<readonly AvailableRepository[] | null>(null);
  const [busy, setBusy] = useState<string | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);

  const attempt = (what: string, work: () => Promise<unknown>) => {
    setBusy(what);
    setProblem(null);
    work()
      .catch((error: unknown) => alive.current && setProblem(problemFrom(error, trans)))
      .finally(() => alive.current && setBusy(null));
  };
  const search = () =>
    attempt('search', async () => {
      const all = await client.availableRepositories(query.trim());
      if (alive.current) {
        setFound(all);
      }
    });
  const add = (given: string) => attempt(given, async () => onChoose(await client.addRepository(given)));
  const remove = ({ id }: Repository) =>
    attempt(id, async () => {
      await client.removeRepository(id);
      onRemoved(id);
      await reload();
    });
  const given = query.trim();
  return (
    <Sheet
      title={trans.__('Repositories')}
      onClose={onClose}
      footer={<Button onClick={onClose}>{trans.__('Close')}</Button>}
    >
      <form
        className="jp-Postdoc-SheetForm"
        role="search"
        aria-label={trans.__('Find a repository')}
        noValidate
        onSubmit={event => {
          event.preventDefault();
          search();
        }}
      >
        <div className="jp-Postdoc-RepoSearch">
          <input
            className="jp-Postdoc-Input"
            data-autofocus
            aria-label={trans.__('Name, owner/name or https address')}
            placeholder={trans.__('Name, owner/name or https address')}
            value={query}
            spellCheck={false}
            autoComplete="off"
            onChange={event => setQuery(event.target.value)}
          />
          <Button submit icon="search" busy={busy === 'search'}>
            {trans.__('Find')}
          </Button>
        </div>
        {ADDRESS.test(given) && (
          <div>
            <Button icon="add" busy={busy === given} onClick={() => add(given)}>
              {trans.__('Add %1', given)}
            </Button>
          </div>
        )}
      </form>
      {problem !== null && (
        <p role="alert">
          {problem.error} {problem.next}{' '}
          {problem.code === 'github_auth' && (
            <Button
              kind="link"
              onClick={() => {
                onClose();
                navigation.show('github');
              }}
            >
              {trans.__('Connect GitHub…')}
            </Button>
          )}
        </p>
      )}
      {found !== null && (
        <section aria-label={trans.__('Found on GitHub')}>
          <p role="status" className="jp-Postdoc-Field-label">
            {found.length === 0
              ? trans.__('Nothing found that your account may write to.')
              : trans._n('%1 repository on GitHub', '%1 repositories on GitHub', found.length)}
          </p>
          <ul className="jp-Postdoc-RepoList">
            {found.map(one => {
              const known = repositories.find(registered => registered.id === one.registered);
              const at = one.pushedAt === null ? NaN : Date.parse(one.pushedAt);
              const facts = [
                visibility(trans, one),
                Number.isNaN(at) ? '' : trans.__('changed %1', relative(at, Date.now(), language)),
                one.description ? plainLine(one.description) : ''
              ];
              return (
                <Line key={one.name} name={one.name} hidden={one.private} facts={facts}>
                  <Button
                    busy={busy === one.name}
                    aria-label={known ? trans.__('Use %1', one.name) : trans.__('Add %1', one.name)}
                    onClick={() => (known ? onChoose(known) : add(one.name))}
                  >
                    {known ? trans.__('Use') : trans.__('Add')}
                  </Button>
                </Line>
              );
            })}
          </ul>
        </section>
      )}
      <section aria-label={trans.__('Registered here')}>
        <p className="jp-Postdoc-Field-label">{trans.__('Registered here')}</p>
        {repositories.length === 0 ? (
          <p>{trans.__('None yet. Find one above, or give its address.')}</p>
        ) : (
          <ul className="jp-Postdoc-RepoList">
            {repositories.map(one => (
              <Line
                key={one.id}
                name={one.name}
                hidden={one.private}
                facts={[
                  one.host,
                  visibility(trans, one),
                  one.sessions > 0 ? trans._n('%1 session', '%1 sessions', one.sessions) : ''
                ]}
              >
                <Button aria-label={trans.__('Use %1', one.name)} onClick={() => onChoose(one)}>
                  {trans.__('Use')}
                </Button>
                <IconButton
                  icon="trash"
                  label={trans.__('Remove %1 from this list', one.name)}
                  disabled={busy === one.id}
                  onClick={() => remove(one)}
                />
              </Line>
            ))}
          </ul>
        )}
        <p className="jp-Postdoc-Small">
          {trans.__('Removing one only takes it off this list: the repository and the sessions in it stay.')}
        </p>
      </section>
    </Sheet>
  );
}

interface LineProps {
  name: string;
  hidden: boolean;
  facts: readonly string[];
  children: React.ReactNode;
}

function Line({ name, hidden, facts, children }: LineProps): JSX.Element {
  return (
    <li>
      <Icon name={hidden ? 'lock' : 'globe'} />
      <span className="jp-Postdoc-RepoList-what">
        <span className="jp-Postdoc-RepoList-name">{plainLine(name)}</span>
        <span className="jp-Postdoc-Small">{facts.filter(Boolean).join(' · ')}</span>
      </span>
      {children}
    </li>
  );
}
