/**
 * A listbox of sessions: one tab stop, the keyboard moves an active option. The menu and the rename field belong to one
 * row at a time and lie over it, outside of the listbox: an option may hold nothing that takes the focus.
 */
import React, { useCallback, useEffect, useId, useLayoutEffect, useRef, useState } from 'react';

import type { ChatInfo } from '../../model';
import { useTrans } from '../../platform';
import { Menu } from '../ui';
import type { Actions } from './actions';
import type { Group, GroupName } from './order';
import { Rename } from './Rename';
import { Row } from './Row';
import { isUnread } from './seen';
import type { SeenState } from './seen';

interface SessionListProps {
  label: string;
  groups: readonly Group[];
  /** The group's heading; none for null. */
  heading: (name: GroupName) => string | null;
  current: string | null;
  seen: SeenState | null;
  now: number;
  templateOf: (info: ChatInfo) => string;
  modelOf: (info: ChatInfo) => string;
  actions: Actions;
}

/** Rows that PageUp and PageDown move by. */
const PAGE = 8;

export function SessionList(props: SessionListProps): JSX.Element {
  const { label, groups, heading, current, seen, now, templateOf, modelOf, actions } = props;
  const trans = useTrans();
  const prefix = useId();
  const host = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const tools = useRef<HTMLDivElement>(null);
  const [chosen, setChosen] = useState<string | null>(current);
  const [hovered, setHovered] = useState<string | null>(null);
  const [renaming, setRenaming] = useState<string | null>(null);
  const fromList = useRef(false);
  const domId = (id: string) => `${prefix}-${id}`;

  const order = groups.flatMap(group => group.sessions);
  const place = useRef(0);
  const found = order.findIndex(info => info.id === chosen);
  // A row that went away (deleted, archived, filtered) leaves the keyboard where it was.
  const at = found >= 0 ? found : Math.min(place.current, order.length - 1);
  const active = order[at] ?? null;
  useEffect(() => {
    place.current = Math.max(0, at);
  });
  useEffect(() => {
    if (current !== null) {
      setChosen(current);
    }
  }, [current]);

  const lost = renaming !== null && !order.some(info => info.id === renaming);
  useEffect(() => {
    if (lost) {
      setRenaming(null); // the field must not lie over another session's row
      list.current?.focus();
    }
  }, [lost]);
  const toolsFor = order.find(info => info.id === (renaming ?? hovered)) ?? active;
  // The tools lie over their row, wherever the row is now.
  useLayoutEffect(() => {
    const row = toolsFor && document.getElementById(domId(toolsFor.id));
    if (row && tools.current && host.current) {
      tools.current.style.top = `${row.offsetTop}px`;
      tools.current.style.height = `${row.offsetHeight}px`;
    }
  });

  const move = (index: number) => {
    const info = order[Math.max(0, Math.min(order.length - 1, index))];
    if (info !== undefined) {
      setChosen(info.id);
      setHovered(null);
      document.getElementById(domId(info.id))?.scrollIntoView({ block: 'nearest' });
    }
  };
  const openMenu = () => tools.current?.querySelector<HTMLButtonElement>('button')?.click();

  const onKeyDown = (event: React.KeyboardEvent) => {
    fromList.current = false;
    if (active === null || event.altKey || event.ctrlKey || event.metaKey) {
      return;
    }
    switch (event.key) {
      case 'ArrowDown':
        move(at + 1);
        break;
      case 'ArrowUp':
        move(at - 1);
        break;
      case 'Home':
        move(0);
        break;
      case 'End':
        move(order.length - 1);
        break;
      case 'PageDown':
        move(at + PAGE);
        break;
      case 'PageUp':
        move(at - PAGE);
        break;
      case 'Enter':
      case ' ':
        actions.open(active.id);
        break;
      case 'Delete':
        void actions.remove(active).then(() => list.current?.focus());
        break;
      case 'F2':
        setRenaming(active.id);
        break;
      case 'ContextMenu':
      case 'F10':
        if (event.key === 'F10' && !event.shiftKey) {
          return;
        }
        setHovered(null);
        fromList.current = true;
        openMenu();
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  const rowOf = (event: React.SyntheticEvent): string | null =>
    (event.target as Element).closest<HTMLElement>('[data-id]')?.dataset.id ?? null;

  const endRename = useCallback(
    (title: string | null, refocus: boolean) => {
      if (title !== null && renaming !== null && !lost) {
        actions.rename(renaming, title);
      }
      setRenaming(null);
      if (refocus) {
        list.current?.focus();
      }
    },
    [actions, renaming, lost]
  );

  return (
    <div className="jp-Postdoc-SessionList" ref={host} onMouseLeave={() => setHovered(null)}>
      <div
        role="listbox"
        className="jp-Postdoc-SessionList-box"
        ref={list}
        tabIndex={0}
        aria-label={label}
        aria-activedescendant={active === null ? undefined : domId(active.id)}
        onKeyDown={onKeyDown}
        onMouseOver={event => {
          const id = rowOf(event);
          if (id !== null && renaming === null && !tools.current?.querySelector('[role=menu]')) {
            setHovered(id);
          }
        }}
        onClick={event => {
          const id = rowOf(event);
          if (id !== null) {
            setChosen(id);
            actions.open(id);
          }
        }}
        onContextMenu={event => {
          const id = rowOf(event);
          if (id !== null && !event.shiftKey) {
            event.preventDefault();
            event.stopPropagation();
            setChosen(id);
            setHovered(id);
            // The tools move to the row first.
            window.setTimeout(openMenu);
          }
        }}
      >
        {groups.map(group => {
          const text = heading(group.name);
          return (
            <div key={group.name} role="group" className="jp-Postdoc-Group" aria-label={text ?? label}>
              {text !== null && (
                <div className="jp-Postdoc-Group-heading" role="presentation">
                  {text} <span className="jp-Postdoc-Group-count">{group.sessions.length}</span>
                </div>
              )}
              {group.sessions.map(info => (
                <Row
                  key={info.id}
                  info={info}
                  domId={domId(info.id)}
                  active={info === active}
                  current={info.id === current}
                  unread={info.id !== current && isUnread(info, seen)}
                  now={now}
                  template={templateOf(info)}
                  model={modelOf(info)}
                />
              ))}
            </div>
          );
        })}
      </div>
      {toolsFor !== null && (
        <div
          className="jp-Postdoc-SessionList-tools"
          ref={tools}
          data-shown={hovered !== null || renaming !== null || undefined}
          onFocus={event => {
            // The menu that a key of the list opened gives the focus to its button when it closes: pass it on.
            if (fromList.current && event.target instanceof HTMLButtonElement) {
              fromList.current = false;
              list.current?.focus();
            }
          }}
        >
          {renaming !== null ? (
            <Rename key={renaming} title={toolsFor.title} onDone={endRename} />
          ) : (
            <Menu
              label={trans.__('Actions for “%1”', toolsFor.title)}
              items={actions.menu(toolsFor, () => setRenaming(toolsFor.id))}
            />
          )}
        </div>
      )}
    </div>
  );
}
