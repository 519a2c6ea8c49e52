/** The bar over every view: where one is, how the connection is, and the ways to elsewhere. */
import React, { useState } from 'react';

import { useNavigation, useRoute } from '../../navigation';
import { usePlatform, useTrans } from '../../platform';
import { newRoute } from '../sessions/actions';
import { IconButton, Menu } from '../ui';
import type { MenuItem } from '../ui';
import { ConnectionState } from './ConnectionState';
import { Help } from './Help';

/** `wide`: the list stands beside the view, so there is nothing to go back to. */
export function Header({ wide }: { wide: boolean }): JSX.Element {
  const trans = useTrans();
  const platform = usePlatform();
  const navigation = useNavigation();
  const route = useRoute();
  const [help, setHelp] = useState(false);

  const items: (MenuItem | false)[] = [
    route.view === 'session' &&
      platform.openSession !== undefined && {
        label: trans.__('Open in tab'),
        icon: 'external',
        onSelect: () => platform.openSession?.(route.id)
      },
    { label: trans.__('GitHub…'), icon: 'branch', onSelect: () => navigation.show('github') },
    platform.openSettings !== undefined && {
      label: trans.__('Settings'),
      icon: 'settings',
      onSelect: () => platform.openSettings?.()
    },
    { label: trans.__('Help'), icon: 'help', onSelect: () => setHelp(true) }
  ];
  const title =
    route.view === 'new'
      ? trans.__('New research')
      : route.view === 'rooms'
        ? trans.__('Rooms')
        : route.view === 'notebook'
          ? trans.__('Notebook')
          : trans.__('Research');

  return (
    <div className="jp-Postdoc-Header">
      {route.view === 'notebook' && (
        <IconButton
          icon="back"
          label={trans.__('Back to the session')}
          onClick={() => navigation.go({ view: 'session', id: route.id })}
        />
      )}
      {route.view !== 'sessions' && route.view !== 'notebook' && !wide && (
        <IconButton
          icon="back"
          label={trans.__('Back to all sessions')}
          onClick={() => navigation.go({ view: 'sessions' })}
        />
      )}
      <h2 className="jp-Postdoc-Header-title">{title}</h2>
      <ConnectionState />
      <span className="jp-Postdoc-Header-space" />
      <IconButton icon="add" label={trans.__('New research')} onClick={() => navigation.go(newRoute())} />
      <IconButton
        icon="rooms"
        label={trans.__('Rooms')}
        pressed={route.view === 'rooms'}
        onClick={() => navigation.go(route.view === 'rooms' ? { view: 'sessions' } : { view: 'rooms' })}
      />
      <Menu label={trans.__('More')} items={items.filter(item => item !== false)} />
      {help && <Help onClose={() => setHelp(false)} />}
    </div>
  );
}
