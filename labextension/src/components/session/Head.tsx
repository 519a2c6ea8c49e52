/** The head of a session: its title, its state, and what can be done with it. */
import React, { memo, useEffect, useImperativeHandle, useRef, useState } from 'react';

import type { ChatInfo, Status } from '../../model';
import type { Route } from '../../navigation';
import { useNavigation } from '../../navigation';
import { usePlatform, useTrans } from '../../platform';
import { CheckpointsSheet } from '../checkpoints';
import { useNotebookPath } from '../notebook/path';
import { reportOf } from '../timeline/report';
import type { MenuItem } from '../ui';
import { Menu, StateChip } from '../ui';
import { againRoute } from './again';

export interface HeadHandle {
  rename(): void;
}

interface Props {
  session: string;
  title: string;
  status: Status;
  reason: string | null;
  info: ChatInfo | null;
  /** Does something and shows what came in its way; `done` is said when it has worked. */
  attempt: (work: () => Promise<unknown>, done?: string) => void;
  handle: React.Ref<HeadHandle>;
}

export const Head = memo(function Head(props: Props): JSX.Element {
  const { session, title, status, reason, info, attempt, handle } = props;
  const platform = usePlatform();
  const navigation = useNavigation();
  const trans = useTrans();
  const { client, openSession } = platform;
  const [editing, setEditing] = useState(false);
  const [steps, setSteps] = useState(false);
  const notebook = useNotebookPath(session);
  const heading = useRef<HTMLHeadingElement>(null);
  const back = useRef(false);
  const rename = () => setEditing(true);
  useImperativeHandle(handle, () => ({ rename }));
  useEffect(() => {
    if (!editing && back.current) {
      back.current = false;
      heading.current?.focus();
    }
  }, [editing]);

  const finish = (name: string | null, refocus: boolean) => {
    back.current = refocus;
    setEditing(false);
    if (name !== null && name.trim() !== '' && name.trim() !== title) {
      attempt(() => client.set(session, { title: name.trim() }));
    }
  };

  const remove = async () => {
    const yes = await platform.confirm({
      title: trans.__('Delete “%1”?', title),
      body: trans.__(
        'Its messages are deleted for good, and what still runs is stopped. Files on disk stay.'
      ),
      accept: trans.__('Delete'),
      dangerous: true
    });
    if (yes) {
      await client.delete(session);
      leave({ view: 'sessions' });
    }
  };

  /** Who has gone elsewhere while the server was at it is left there. */
  const leave = (to: Route) => {
    const route = navigation.get();
    if (route.view === 'session' && route.id === session) {
      navigation.go(to);
    }
  };

  const view = () => platform.store.getState().views[session];
  const again = againRoute(view()?.items ?? [], '');
  const items: (MenuItem | 'separator' | null)[] = [
    { label: trans.__('Rename'), icon: 'edit', onSelect: rename },
    openSession
      ? {
          label: trans.__('Open in tab'),
          icon: 'external',
          onSelect: () => openSession.call(platform, session)
        }
      : null,
    again && {
      label: trans.__('Run again with other options…'),
      icon: 'refresh',
      onSelect: () => {
        const route = againRoute(view()?.items ?? [], `again-${Date.now()}`);
        if (route !== null) {
          navigation.go(route);
        }
      }
    },
    {
      label: trans.__('Fork'),
      icon: 'branch',
      onSelect: () => attempt(async () => leave({ view: 'session', id: await client.fork(session) }))
    },
    notebook !== ''
      ? { label: trans.__('Checkpoints…'), icon: 'commit', onSelect: () => setSteps(true) }
      : null,
    'separator',
    {
      label: trans.__('Copy link'),
      icon: 'copy',
      onSelect: () => attempt(() => platform.copy(client.url(`s/${session}`)), trans.__('Link copied.'))
    },
    {
      label: trans.__('Copy id'),
      icon: 'copy',
      onSelect: () => attempt(() => platform.copy(session), trans.__('Id copied.'))
    },
    {
      label: trans.__('Copy report'),
      icon: 'copy',
      onSelect: () => attempt(() => platform.copy(reportOf(null, view())), trans.__('Report copied.'))
    },
    'separator',
    {
      label: info?.archived ? trans.__('Unarchive') : trans.__('Archive'),
      icon: 'archive',
      onSelect: () =>
        attempt(
          () => client.set(session, { archived: !info?.archived }),
          info?.archived ? trans.__('Back in the list.') : trans.__('Archived.')
        )
    },
    {
      label: trans.__('Delete'),
      icon: 'trash',
      dangerous: true,
      onSelect: () => attempt(remove)
    }
  ];
  return (
    <header className="jp-Postdoc-Session-head">
      {editing ? (
        <TitleField title={title} onEnd={finish} />
      ) : (
        <h2 ref={heading} tabIndex={-1} onDoubleClick={rename} title={trans.__('%1 (F2 renames)', title)}>
          {title}
        </h2>
      )}
      <StateChip status={status} reason={reason} />
      <Menu
        label={trans.__('Actions of this session')}
        items={items.filter((item): item is MenuItem | 'separator' => item !== null)}
      />
      {steps && <CheckpointsSheet session={session} onClose={() => setSteps(false)} />}
    </header>
  );
});

interface FieldProps {
  title: string;
  /** The new title, or null to leave it as it was; `refocus`: a key has ended it. */
  onEnd: (title: string | null, refocus: boolean) => void;
}

function TitleField({ title, onEnd }: FieldProps): JSX.Element {
  const trans = useTrans();
  const [text, setText] = useState(title);
  const ended = useRef(false);
  const end = (name: string | null, refocus: boolean) => {
    if (!ended.current) {
      ended.current = true;
      onEnd(name, refocus);
    }
  };
  return (
    <input
      className="jp-Postdoc-Input"
      autoFocus
      maxLength={200}
      aria-label={trans.__('Title')}
      value={text}
      onFocus={event => event.target.select()}
      onChange={event => setText(event.target.value)}
      onBlur={() => end(text, false)}
      onKeyDown={event => {
        if (event.key === 'Enter' && !event.nativeEvent.isComposing) {
          event.preventDefault();
          end(text, true);
        } else if (event.key === 'Escape') {
          event.preventDefault();
          event.stopPropagation();
          end(null, true);
        }
      }}
    />
  );
}
