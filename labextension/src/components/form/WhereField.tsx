/** Where the work is done: in a new repository, or in one that there is. */
import React, { useCallback, useEffect, useState } from 'react';

import type { Repository } from '../../client';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { plainLine } from '../../plain';
import { RepositoriesSheet } from '../publish/RepositoriesSheet';
import { Button } from '../ui';
import { Field } from './Field';

interface WhereProps {
  /** The id of a registered repository; '': a new one. */
  value: string;
  error?: string;
  onChange: (id: string) => void;
}

export function WhereField({ value, error, onChange }: WhereProps): JSX.Element | null {
  const trans = useTrans();
  const { repositories, reload } = useRepositories();
  const [sheet, setSheet] = useState(false);
  if (repositories === null) {
    return null;
  }
  const chosen = repositories.find(one => one.id === value);
  const unusable = chosen?.archived === true || chosen?.mayPush === false;
  return (
    <>
      <Field
        label={trans.__('Where')}
        name="where"
        error={error}
        help={
          chosen
            ? trans.__('On a new branch that begins at %1; %1 itself is not changed.', chosen.defaultBranch) +
              (unusable
                ? ` ${trans.__('Your account may not send anything there: what is made stays on this machine.')}`
                : '')
            : value !== ''
              ? trans.__('This repository is no longer registered. Choose another one.')
              : undefined
        }
      >
        {wiring => (
          <div className="jp-Postdoc-Where">
            <select
              {...wiring}
              className="jp-Postdoc-Select"
              value={value}
              onChange={event => onChange(event.target.value)}
            >
              <option value="">{trans.__('In a new repository')}</option>
              {value !== '' && !chosen && <option value={value}>{trans.__('(removed)')}</option>}
              {repositories.map(one => (
                <option key={one.id} value={one.id}>
                  {trans.__('In %1', plainLine(one.name))}
                </option>
              ))}
            </select>
            <Button aria-label={trans.__('Add or remove repositories…')} onClick={() => setSheet(true)}>
              {repositories.length > 0 ? trans.__('Manage…') : trans.__('Add…')}
            </Button>
          </div>
        )}
      </Field>
      {sheet && (
        <RepositoriesSheet
          repositories={repositories}
          reload={reload}
          onClose={() => setSheet(false)}
          onChoose={repository => {
            setSheet(false);
            void reload().then(() => onChange(repository.id));
          }}
          onRemoved={id => {
            if (id === value) {
              onChange('');
            }
          }}
        />
      )}
    </>
  );
}

/** Null until they are known, and on a server that has none. */
function useRepositories(): { repositories: readonly Repository[] | null; reload: () => Promise<void> } {
  const { client } = usePlatform();
  const online = useSelected(state => state.connection.state === 'connected');
  const [repositories, setRepositories] = useState<readonly Repository[] | null>(null);
  const reload = useCallback(
    () =>
      client.repositories().then(
        found => setRepositories(Array.isArray(found) ? found : null),
        () => undefined
      ),
    [client]
  );
  useEffect(() => {
    if (online) {
      void reload();
    }
  }, [online, reload]);
  return { repositories, reload };
}
