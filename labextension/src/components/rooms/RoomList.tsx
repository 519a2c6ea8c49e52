/** All rooms, with what is new in them; a new one is made by its name. */
import React, { useRef, useState } from 'react';

import type { Room } from '../../client';
import { count, dateTime, relative } from '../../format';
import { usePlatform, useTrans } from '../../platform';
import { Button, Icon, classes } from '../ui';
import { ALL, legalRoom } from './rooms';

interface RoomListProps {
  rooms: readonly Room[];
  /** The one that is shown beside the list. */
  current: string | undefined;
  unreadOf: (room: Room) => number;
  onOpen: (room: string) => void;
}

export function RoomList({ rooms, current, unreadOf, onOpen }: RoomListProps): JSX.Element {
  const { language } = usePlatform();
  const trans = useTrans();
  const list = useRef<HTMLUListElement>(null);
  const names = [...(rooms.length > 1 ? [ALL] : []), ...rooms.map(room => room.room)];
  const [active, setActive] = useState<string | undefined>(current);
  const stop = active !== undefined && names.includes(active) ? active : names[0];

  const onKey = (event: React.KeyboardEvent) => {
    const at = names.indexOf(stop ?? '');
    const steps: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      Home: 0,
      End: names.length - 1
    };
    const to = steps[event.key];
    if (to !== undefined) {
      event.preventDefault();
      const next = Math.max(0, Math.min(names.length - 1, to));
      setActive(names[next]);
      list.current?.querySelectorAll<HTMLElement>('.jp-Postdoc-RoomRow')[next]?.focus();
    }
  };

  return (
    <div className="jp-Postdoc-RoomList">
      {rooms.length > 0 && (
        <ul ref={list} aria-label={trans.__('Rooms')} onKeyDown={onKey}>
          {names.map(name => {
            const room = rooms.find(one => one.room === name);
            const fresh = room ? unreadOf(room) : 0;
            const at = room ? Date.parse(room.last) : NaN;
            return (
              <li key={name}>
                <button
                  type="button"
                  className={classes('jp-Postdoc-RoomRow', name === current && 'jp-mod-current')}
                  tabIndex={name === stop ? 0 : -1}
                  aria-current={name === current || undefined}
                  onFocus={() => setActive(name)}
                  onClick={() => onOpen(name)}
                >
                  <Icon name={room ? 'chat' : 'rooms'} />
                  <span className="jp-Postdoc-RoomRow-name">{room ? room.room : trans.__('All rooms')}</span>
                  {fresh > 0 && (
                    <span className="jp-Postdoc-RoomRow-new">
                      {trans.__('%1 new', count(fresh, language))}
                    </span>
                  )}
                  {Number.isFinite(at) && (
                    <time className="jp-Postdoc-RoomRow-time" title={dateTime(at, language)}>
                      {relative(at, Date.now(), language)}
                    </time>
                  )}
                </button>
              </li>
            );
          })}
        </ul>
      )}
      <NewRoom onOpen={onOpen} />
    </div>
  );
}

/** A room is there as soon as something is said in it. */
function NewRoom({ onOpen }: { onOpen: (room: string) => void }): JSX.Element {
  const trans = useTrans();
  const [name, setName] = useState('');
  const [wrong, setWrong] = useState(false);
  return (
    <form
      className="jp-Postdoc-NewRoom"
      onSubmit={event => {
        event.preventDefault();
        const wanted = name.trim();
        if (legalRoom(wanted)) {
          setName('');
          onOpen(wanted);
        } else {
          setWrong(true);
        }
      }}
    >
      <div className="jp-Postdoc-NewRoom-row">
        <input
          className="jp-Postdoc-Input"
          aria-label={trans.__('Name of a new room')}
          aria-invalid={wrong || undefined}
          aria-describedby={wrong ? 'jp-Postdoc-NewRoom-error' : undefined}
          placeholder={trans.__('New room…')}
          value={name}
          spellCheck={false}
          onChange={event => {
            setName(event.target.value);
            setWrong(false);
          }}
        />
        <Button submit icon="add">
          {trans.__('Open')}
        </Button>
      </div>
      {wrong && (
        <p className="jp-Postdoc-Field-error" id="jp-Postdoc-NewRoom-error" role="alert">
          <Icon name="warn" />
          <span>{trans.__('A name has up to 59 letters, digits, spaces, _, - and dots.')}</span>
        </p>
      )}
    </form>
  );
}
