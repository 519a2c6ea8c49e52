/** In place of the composer where there is nobody to talk to: why, and what works. */
import React, { forwardRef } from 'react';

import type { Model } from '../../client';
import { useNavigation } from '../../navigation';
import { useTrans } from '../../platform';
import { Button } from '../ui';

/** Whether some model answers a message; true until the server has told. */
export function canTalk(models: readonly Model[] | null): boolean {
  return models === null || models.some(model => model.available && model.kinds.includes('chat'));
}

interface Props {
  models: readonly Model[] | null;
  /** Something was said already. */
  begun: boolean;
  children?: React.ReactNode;
}

export const Silent = forwardRef<HTMLParagraphElement, Props>(function Silent(
  { models, begun, children },
  ref
) {
  const trans = useTrans();
  const navigation = useNavigation();
  // The server knows best what to set, and where.
  const next = models?.find(model => !model.available && model.next)?.next;
  return (
    <div className="jp-Postdoc-Composer jp-mod-silent">
      <p className="jp-Postdoc-Small" ref={ref} tabIndex={-1}>
        {trans.__('Talking to the agent needs a model key.')}{' '}
        {next ?? trans.__('Set ANTHROPIC_API_KEY for the Jupyter server and restart it.')}
      </p>
      {!begun && (
        <span>
          <Button kind="accept" icon="add" onClick={() => navigation.go({ view: 'new' })}>
            {trans.__('New research')}
          </Button>
        </span>
      )}
      {children}
    </div>
  );
});
