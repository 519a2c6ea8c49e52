/** What is different at a checkpoint: cells with their code, and other files. */
import React, { useEffect, useId, useState } from 'react';

import type { CheckpointDiff } from '../../client';
import { usePlatform, useTrans } from '../../platform';
import { troubleOf } from '../session/trouble';
import { Diff } from '../timeline/Code';
import { Button } from '../ui';
import { changesIn, fileSaid, filesIn } from './words';

interface Props {
  session: string;
  sha: string;
  /** Changes when the notebook may have changed: it is compared anew. */
  version: string;
}

type Against = 'before' | 'live';

/** At first what the step itself did; on demand what going back to it would do to the notebook as it is. */
export function Differences({ session, sha, version }: Props): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const name = useId();
  const [against, setAgainst] = useState<Against>('before');
  const [diff, setDiff] = useState<CheckpointDiff | null>(null);
  const [trouble, setTrouble] = useState<string | null>(null);
  const [attempt, setAttempt] = useState(0);
  const asks = against === 'live' ? version : '';
  useEffect(() => {
    let alive = true;
    setDiff(null);
    setTrouble(null);
    client.checkpoint(session, sha, against === 'live' ? 'live' : undefined).then(
      found => alive && setDiff(found),
      (error: unknown) => alive && setTrouble(troubleOf(error))
    );
    return () => {
      alive = false;
    };
  }, [client, session, sha, against, asks, attempt]);
  const choices: [Against, string][] = [
    ['before', trans.__('What this step did')],
    ['live', trans.__('What going back would do')]
  ];
  return (
    <>
      <div className="jp-Postdoc-Checkpoints-against" role="radiogroup" aria-label={trans.__('Show')}>
        {choices.map(([value, label]) => (
          <label key={value}>
            <input type="radio" name={name} checked={against === value} onChange={() => setAgainst(value)} />
            <span>{label}</span>
          </label>
        ))}
      </div>
      {trouble !== null ? (
        <p role="alert">
          {trouble}{' '}
          <Button kind="link" onClick={() => setAttempt(attempt + 1)}>
            {trans.__('Retry')}
          </Button>
        </p>
      ) : diff === null ? (
        <p role="status">{trans.__('Comparing…')}</p>
      ) : (
        <Found diff={diff} />
      )}
    </>
  );
}

function Found({ diff }: { diff: CheckpointDiff }): JSX.Element {
  const trans = useTrans();
  const changes = changesIn(diff);
  const files = filesIn(diff);
  return (
    <div className="jp-Postdoc-Checkpoints-diff">
      {changes.length === 0 && (
        <p>
          {diff.against === 'live'
            ? trans.__('Nothing: the notebook is as it was then.')
            : trans.__('The notebook stayed as it was.')}
        </p>
      )}
      {changes.map((change, index) => (
        <Diff key={`${change.name} ${index}`} change={change} />
      ))}
      {files.length > 0 && (
        <section aria-label={trans.__('Other files')}>
          <p className="jp-Postdoc-Field-label">{trans.__('Other files')}</p>
          <ul className="jp-Postdoc-Checkpoints-files">
            {files.map(({ path, change }) => (
              <li key={path}>
                <code>{path}</code> <span className="jp-Postdoc-Small">{fileSaid(trans, change)}</span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}
