/** Say something in a room. */
import React, { useEffect, useRef, useState } from 'react';

import type { Problem } from '../../model';
import { usePlatform, useSelected, useSettings, useTrans } from '../../platform';
import { problemFrom } from '../form/problems';
import { Button } from '../ui';
import { KINDS, kindText } from './rooms';

interface RoomComposerProps {
  /** Where it is said; several: the user chooses. */
  rooms: readonly string[];
  onSent: () => void;
}

export function RoomComposer({ rooms, onSent }: RoomComposerProps): JSX.Element {
  const { client, memory } = usePlatform();
  const trans = useTrans();
  const { sendWithShiftEnter } = useSettings();
  const display = useSelected(state => state.user?.display ?? '');
  const [text, setText] = useState('');
  const [kind, setKind] = useState<string>('note');
  const [wanted, setWanted] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const room = rooms.includes(wanted) ? wanted : rooms[0];
  const draftKey = `rooms.draft:${rooms.length === 1 ? room : '*'}`;

  useEffect(() => {
    let here = true;
    setText('');
    setProblem(null);
    void memory.get(draftKey).then(
      stored => here && typeof stored === 'string' && setText(typed => typed || stored),
      () => undefined
    );
    return () => {
      here = false;
    };
  }, [memory, draftKey]);

  const write = (value: string) => {
    setText(value);
    void memory.set(draftKey, value).catch(() => undefined);
  };

  const send = async () => {
    if (busy || room === undefined || text.trim() === '') {
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      await client.post(room, text.trim(), kind, display || undefined);
      write('');
      onSent();
    } catch (reason) {
      setProblem(problemFrom(reason, trans)); // and the text stays
    }
    setBusy(false);
    area.current?.focus();
  };

  return (
    <div className="jp-Postdoc-RoomComposer">
      {problem && (
        <div className="jp-Postdoc-Form-alert" role="alert">
          <strong>{problem.error}</strong> {problem.next}
        </div>
      )}
      <textarea
        ref={area}
        className="jp-Postdoc-Textarea"
        rows={2}
        aria-label={room === undefined ? trans.__('Message') : trans.__('Message to %1', room)}
        placeholder={display ? trans.__('Say something as %1…', display) : trans.__('Say something…')}
        value={text}
        readOnly={busy}
        onChange={event => write(event.target.value)}
        onKeyDown={event => {
          const accel = event.ctrlKey || event.metaKey;
          if (
            event.key === 'Enter' &&
            !event.nativeEvent.isComposing &&
            (accel || event.shiftKey === sendWithShiftEnter)
          ) {
            event.preventDefault();
            event.stopPropagation();
            void send();
          }
        }}
      />
      <div className="jp-Postdoc-RoomComposer-row">
        <select
          className="jp-Postdoc-Select"
          aria-label={trans.__('Kind of message')}
          value={kind}
          onChange={event => setKind(event.target.value)}
        >
          {KINDS.map(one => (
            <option key={one} value={one}>
              {kindText(trans, one)}
            </option>
          ))}
        </select>
        {rooms.length > 1 && (
          <select
            className="jp-Postdoc-Select"
            aria-label={trans.__('Room')}
            value={room}
            onChange={event => setWanted(event.target.value)}
          >
            {rooms.map(one => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        )}
        <Button
          kind="accept"
          icon="send"
          busy={busy}
          disabled={text.trim() === ''}
          title={sendWithShiftEnter ? trans.__('Send (Shift Enter)') : trans.__('Send (Enter)')}
          onClick={() => void send()}
        >
          {trans.__('Send')}
        </Button>
      </div>
    </div>
  );
}
