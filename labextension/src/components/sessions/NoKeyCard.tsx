/** Says once that no model has a key. Research goes on without one, so it stands in nobody's way. */
import React, { useEffect, useId, useState } from 'react';

import type { Model } from '../../client';
import { useNavigation } from '../../navigation';
import { usePlatform } from '../../platform';
import { Button, Card, IconButton } from '../ui';
import { newRoute } from './actions';
import { onlyTemplates } from './catalogue';

const KEY = 'no-key-card';
const KEYS_PAGE = 'https://console.anthropic.com/settings/keys';

/** The card, until it is dismissed or used. */
export function NoKeyCard({ models }: { models: readonly Model[] | null }): JSX.Element | null {
  const { memory, trans } = usePlatform();
  const navigation = useNavigation();
  const [dismissed, setDismissed] = useState<boolean | null>(null); // null: not known yet
  const [how, setHow] = useState(false);
  const id = useId();
  useEffect(() => {
    let wanted = true;
    void memory
      .get(KEY)
      .catch(() => undefined)
      .then(value => wanted && setDismissed(value === 'dismissed'));
    return () => {
      wanted = false;
    };
  }, [memory]);
  if (dismissed !== false || !onlyTemplates(models)) {
    return null;
  }
  const dismiss = () => {
    setDismissed(true);
    void memory.set(KEY, 'dismissed').catch(() => undefined);
  };
  return (
    <Card
      tone="info"
      icon="key"
      role="note"
      className="jp-Postdoc-NoKey"
      title={
        <>
          {trans.__('No model key found.')}
          <IconButton icon="close" label={trans.__('Dismiss')} onClick={dismiss} />
        </>
      }
      actions={
        <>
          <Button
            onClick={() => {
              dismiss();
              navigation.go(newRoute());
            }}
          >
            {trans.__('Use demo agent')}
          </Button>
          <Button aria-expanded={how} aria-controls={how ? id : undefined} onClick={() => setHow(!how)}>
            {trans.__('How to')}
          </Button>
        </>
      }
    >
      {trans.__('Set ANTHROPIC_API_KEY for the Jupyter server and restart it, or choose the demo agent.')}
      {how && (
        <ol className="jp-Postdoc-NoKey-how" id={id}>
          <li>
            <a href={KEYS_PAGE} target="_blank" rel="noopener noreferrer">
              {trans.__('Make a key')}
            </a>{' '}
            {trans.__('at Anthropic, or ask your administrator for one.')}
          </li>
          <li>
            {trans.__('Start Jupyter with it in the environment:')}{' '}
            <code className="jp-Postdoc-Command">export ANTHROPIC_API_KEY=…</code>
          </li>
          <li>
            {trans.__('Or keep it in a file that the configuration names:')}{' '}
            <code className="jp-Postdoc-Command">c.PostdocApp.anthropic_api_key_file</code>
          </li>
        </ol>
      )}
    </Card>
  );
}
