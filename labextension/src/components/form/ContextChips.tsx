/** What the research is about besides the topic: a selection, a file. Each part can be taken away again. */
import React from 'react';

import { firstLine } from '../../format';
import { usePlatform, useTrans } from '../../platform';
import { Button, Icon, IconButton } from '../ui';
import type { Plan } from './compose';
import type { ContextPart } from './draft';

interface ContextChipsProps {
  context: readonly ContextPart[];
  plan: Plan;
  onAdd: (part: ContextPart) => void;
  onRemove: (part: ContextPart) => void;
}

export function ContextChips({ context, plan, onAdd, onRemove }: ContextChipsProps): JSX.Element | null {
  const platform = usePlatform();
  const trans = useTrans();
  if (context.length === 0 && !platform.context) {
    return null;
  }
  return (
    <div className="jp-Postdoc-Context">
      {context.length > 0 && (
        <ul className="jp-Postdoc-Context-list" aria-label={trans.__('Context')}>
          {context.map(part => (
            <li key={part.text} className="jp-Postdoc-Context-chip" title={firstLine(part.text, 300)}>
              <Icon name={part.text.includes('\n') ? 'code' : 'file'} />
              <span className="jp-Postdoc-Context-label">{part.label}</span>
              {plan.data?.part === part && (
                <span className="jp-Postdoc-Context-use">{trans.__('as the data')}</span>
              )}
              <IconButton
                icon="close"
                label={trans.__('Remove %1', part.label)}
                onClick={() => onRemove(part)}
              />
            </li>
          ))}
        </ul>
      )}
      {platform.context && (
        <Button
          kind="link"
          icon="add"
          onClick={() => {
            const part = platform.context?.();
            if (part) {
              onAdd(part);
            }
          }}
        >
          {trans.__('Add current selection')}
        </Button>
      )}
    </div>
  );
}
