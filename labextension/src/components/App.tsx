/** The whole panel: header, connection banner, and the view that the route names. */
import React, { useRef } from 'react';

import type { State } from '../model';
import { NavigationProvider, useNavigation, useRoute } from '../navigation';
import type { Navigation, Route } from '../navigation';
import { PlatformProvider, useSelected, useTrans } from '../platform';
import type { Platform } from '../platform';
import { NewResearch } from './form/NewResearch';
import { ConnectionBanner } from './frame/ConnectionBanner';
import { ErrorBoundary } from './frame/ErrorBoundary';
import { Header } from './frame/Header';
import { routeKey, useFocusOnChange, useVisible, useWide } from './frame/hooks';
import { GitHubOverlay } from './publish/GitHubSheet';
import { RoomsView } from './rooms/RoomsView';
import { SessionPage } from './session/SessionPage';
import { NotebookView } from './notebook';
import { newRoute } from './sessions/actions';
import { listed } from './sessions/order';
import { useMarkSeen } from './sessions/seen';
import { SessionsView } from './sessions/SessionsView';
import { Button, Empty, classes } from './ui';

export interface AppProps {
  platform: Platform;
  navigation: Navigation;
  /** Expect room for list and view side by side; from 700 px on they are, once the width is known. */
  wide?: boolean;
}

/** The panel. Its element fills its parent. */
export function App({ platform, navigation, wide }: AppProps): JSX.Element {
  return (
    <PlatformProvider value={platform}>
      <NavigationProvider value={navigation}>
        <Frame wide={wide} />
      </NavigationProvider>
    </PlatformProvider>
  );
}

const isKnown = (state: State) => state.sessions !== null;
const hasAny = (state: State) => listed(state.sessions).length > 0;

function Frame({ wide: guess }: { wide?: boolean }): JSX.Element {
  const trans = useTrans();
  const route = useRoute();
  const host = useRef<HTMLDivElement>(null);
  const main = useRef<HTMLElement>(null);
  const wide = useWide(host, guess);
  const known = useSelected(isKnown);
  const any = useSelected(hasAny);
  // Without any session there is nothing to choose from: the start has the whole width.
  const split = wide && route.view !== 'notebook' && (any || route.view !== 'sessions');
  const choosing = split && route.view === 'sessions';
  const listShown = split || route.view === 'sessions';
  useFocusOnChange(host, main);
  useSeenWhileShown(host, route);

  const key = routeKey(route);
  return (
    <div
      role="region"
      aria-label={trans.__('Postdoc')}
      className={classes('jp-Postdoc', 'jp-Postdoc-App', split && 'jp-mod-wide')}
      ref={host}
    >
      <Header wide={split} />
      <ConnectionBanner covered={listShown && !known} />
      <div className="jp-Postdoc-App-body">
        {split && (
          <section className="jp-Postdoc-App-side" aria-label={trans.__('Sessions')}>
            <ErrorBoundary at="side">
              <SessionsView />
            </ErrorBoundary>
          </section>
        )}
        <section
          className="jp-Postdoc-App-main"
          ref={main}
          key={route.view}
          aria-label={choosing ? trans.__('Session') : nameOf(route, trans)}
        >
          <ErrorBoundary at={key}>
            {choosing ? <NothingChosen /> : <View route={route} at={key} />}
          </ErrorBoundary>
        </section>
      </div>
      <GitHubOverlay />
    </div>
  );
}

function View({ route, at }: { route: Route; at: string }): JSX.Element {
  switch (route.view) {
    case 'sessions':
      return <SessionsView />;
    case 'session':
      return <SessionPage key={at} id={route.id} />;
    case 'notebook':
      return <NotebookView key={at} session={route.id} cell={route.cell} />;
    case 'new':
      return <NewResearch key={at} route={route} />;
    case 'rooms':
      return <RoomsView room={route.room} />;
  }
}

/** The name of the view's region; a session's own region has its title. */
function nameOf(route: Route, trans: Platform['trans']): string | undefined {
  switch (route.view) {
    case 'sessions':
      return trans.__('Sessions');
    case 'session':
    case 'notebook':
      return undefined;
    case 'new':
      return trans.__('New research');
    case 'rooms':
      return trans.__('Rooms');
  }
}

/** Beside the list, while no session is open. */
function NothingChosen(): JSX.Element {
  const trans = useTrans();
  const navigation = useNavigation();
  return (
    <Empty
      icon="notebook"
      title={trans.__('Choose a session')}
      actions={
        <Button kind="accept" icon="add" onClick={() => navigation.go(newRoute())}>
          {trans.__('New research')}
        </Button>
      }
    >
      {trans.__('Its progress, its notebook and its report are shown here.')}
    </Empty>
  );
}

/** The open session counts as seen while the user can see it. */
function useSeenWhileShown(host: React.RefObject<HTMLElement>, route: Route): void {
  const visible = useVisible(host);
  const id = (route.view === 'session' || route.view === 'notebook') && visible ? route.id : null;
  const lastSeq = useSelected(state =>
    id === null ? 0 : Math.max(state.views[id]?.lastSeq ?? 0, state.sessions?.[id]?.lastSeq ?? 0)
  );
  useMarkSeen(id, lastSeq);
}
