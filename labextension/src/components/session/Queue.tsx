/** Messages that the agent has not read yet: they can be changed or taken back. */
import React, { useEffect, useRef, useState } from 'react';

import { firstLine } from '../../format';
import type { Pending } from '../../model';
import { usePlatform, useSettings, useTrans } from '../../platform';
import { Button, Icon, IconButton } from '../ui';
import { keyOf, sends } from './keys';
import { troubleOf } from './trouble';

interface Props {
  session: string;
  queue: readonly Pending[];
  /** The agent took a message while it was being changed: this is what was typed. */
  onLost: (text: string) => void;
  /** The focus has nowhere to go. */
  onLeft: () => void;
}

export function Queue({ session, queue, onLost, onLeft }: Props): JSX.Element | null {
  const { client } = usePlatform();
  const trans = useTrans();
  const [editing, setEditing] = useState<{ message: Pending; text: string } | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const lost = useRef(onLost);
  lost.current = onLost;

  useEffect(() => {
    if (editing !== null && !queue.some(one => one.id === editing.message.id)) {
      setEditing(null);
      if (editing.text !== editing.message.content) {
        lost.current(editing.text);
      }
    }
  }, [queue, editing]);

  const takeBack = (id: string) => {
    setProblem(null);
    client.cancelQueued(session, id).then(onLeft, (error: unknown) => setProblem(troubleOf(error)));
  };
  const save = () => {
    if (editing !== null && editing.text.trim() !== '') {
      setProblem(null);
      client.updateQueued(session, editing.message.id, editing.text.trim()).then(
        () => {
          setEditing(null);
          onLeft();
        },
        (error: unknown) => setProblem(troubleOf(error))
      );
    }
  };

  if (queue.length === 0 && problem === null) {
    return null;
  }
  return (
    <>
      {queue.length > 0 && (
        <ul className="jp-Postdoc-Queue" aria-label={trans.__('Messages that wait their turn')}>
          {queue.map(message =>
            editing?.message.id === message.id ? (
              <li key={message.id} className="jp-Postdoc-Queued jp-mod-editing">
                <QueuedEditor
                  text={editing.text}
                  onChange={text => setEditing({ message, text })}
                  onSave={save}
                  onCancel={() => {
                    setEditing(null);
                    onLeft();
                  }}
                />
              </li>
            ) : (
              <li key={message.id} className="jp-Postdoc-Queued">
                <Icon name={message.kind === 'research' ? 'search' : 'clock'} />
                <span className="jp-Postdoc-Queued-text" title={message.content}>
                  {firstLine(message.content, 120)}
                </span>
                <IconButton
                  icon="edit"
                  label={trans.__('Change this message')}
                  onClick={() => setEditing({ message, text: message.content })}
                />
                <IconButton
                  icon="close"
                  label={trans.__('Take this message back')}
                  onClick={() => takeBack(message.id)}
                />
              </li>
            )
          )}
        </ul>
      )}
      {problem !== null && (
        <p role="alert" className="jp-Postdoc-Trouble">
          {problem}
        </p>
      )}
    </>
  );
}

interface EditorProps {
  text: string;
  onChange: (text: string) => void;
  onSave: () => void;
  onCancel: () => void;
}

function QueuedEditor({ text, onChange, onSave, onCancel }: EditorProps): JSX.Element {
  const trans = useTrans();
  const { sendWithShiftEnter } = useSettings();
  return (
    <>
      <textarea
        className="jp-Postdoc-Textarea"
        autoFocus
        onFocus={event => event.target.setSelectionRange(text.length, text.length)}
        rows={Math.min(6, text.split('\n').length)}
        aria-label={trans.__('The waiting message')}
        value={text}
        onChange={event => onChange(event.target.value)}
        onKeyDown={event => {
          if (sends(keyOf(event), sendWithShiftEnter)) {
            event.preventDefault();
            onSave();
          } else if (event.key === 'Escape') {
            event.preventDefault();
            event.stopPropagation();
            onCancel();
          }
        }}
      />
      <span className="jp-Postdoc-Queued-actions">
        <Button kind="plain" onClick={onCancel}>
          {trans.__('Cancel')}
        </Button>
        <Button kind="accept" disabled={text.trim() === ''} onClick={onSave}>
          {trans.__('Save')}
        </Button>
      </span>
    </>
  );
}
