/** Commands that show something. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { pathOfNotebook } from '../components/notebook/path';
import { neighbour } from '../components/sessions/order';
import { postdocIcon } from '../icons';
import type { Route } from '../navigation';
import { Navigation } from '../navigation';
import { pathOf } from '../page/address';
import { NotebookTab } from './notebookTab';
import { ReportWidget } from './report';
import type { IPostdoc } from './tokens';
import { Commands, PANEL_ID } from './tokens';
import { PostdocView } from './view';

type Args = ReadonlyPartialJSONObject;

export function registerViewCommands(
  app: JupyterFrontEnd,
  postdoc: IPostdoc,
  rendermime: IRenderMimeRegistry
): void {
  const { commands, shell } = app;
  const { trans, navigation, places, store, client } = postdoc;

  const show = (route?: Route) => {
    if (route !== undefined) {
      navigation.go(route);
    }
    shell.activateById(PANEL_ID);
  };

  commands.addCommand(Commands.open, {
    label: trans.__('Research'),
    caption: trans.__('Show the research panel'),
    icon: postdocIcon,
    describedBy: { args: schema({ session: 'The id of the session to show.' }) },
    execute: args => {
      const session = text(args, 'session');
      const tab = session === '' ? undefined : postdoc.tabs.find(each => each.session === session);
      if (tab) {
        shell.activateById(tab.id);
      } else {
        show(session === '' ? undefined : { view: 'session', id: session });
      }
    }
  });

  commands.addCommand(Commands.create, {
    label: trans.__('New research'),
    caption: trans.__('Describe a question; an agent works on it'),
    icon: postdocIcon,
    describedBy: {
      args: schema({
        topic: 'The question.',
        template: 'The name of a template.',
        context: 'Text or a path.'
      })
    },
    execute: args => show(newRoute(args))
  });

  commands.addCommand(Commands.openTab, {
    label: trans.__('Open in a tab'),
    caption: trans.__('Show the sessions in the main area'),
    icon: postdocIcon,
    describedBy: {
      args: schema({ session: 'The id of the session to show.', tab: 'For a restored tab: its key.' })
    },
    execute: args => {
      const session = text(args, 'session') || places.current() || '';
      if (!postdoc.hasTabs) {
        const path = pathOf(session === '' ? { view: 'sessions' } : { view: 'session', id: session });
        window.open(client.url(path), '_blank', 'noopener');
        return undefined;
      }
      const key = text(args, 'tab');
      const open = postdoc.tabs.find(tab => (key === '' ? tab.session === session : tab.key === key));
      const tab = open ?? createTab(postdoc, rendermime, session, key);
      if (!tab.isAttached) {
        shell.add(tab, 'main', { type: 'Research' });
      }
      shell.activateById(tab.id);
      return tab;
    }
  });

  commands.addCommand(Commands.openLiveNotebook, {
    label: trans.__('Open the notebook'),
    caption: trans.__('Watch the notebook while the agent works, or take it over'),
    icon: postdocIcon,
    describedBy: {
      args: schema({
        session: 'The id of a session.',
        title: 'The title of the tab.',
        cell: 'The name of a cell to bring into view.'
      })
    },
    isEnabled: args => text(args, 'session') !== '' || hasNotebook(postdoc, places.current()),
    execute: args => {
      const session = text(args, 'session') || places.current();
      if (!session) {
        return undefined;
      }
      if (!postdoc.hasTabs) {
        window.open(client.url(pathOf({ view: 'notebook', id: session })), '_blank', 'noopener');
        return undefined;
      }
      const cell = text(args, 'cell');
      let tab = postdoc.notebooks.find(each => each.session === session);
      if (tab === undefined) {
        const title = text(args, 'title') || store.getState().sessions?.[session]?.title || '';
        tab = new NotebookTab({
          postdoc,
          rendermime,
          session,
          title,
          cell,
          onSession: id => show(sessionAt(id))
        });
        void postdoc.notebooks.add(tab);
      } else {
        tab.goTo(cell);
      }
      if (!tab.isAttached) {
        shell.add(tab, 'main', { type: 'Research notebook' });
      }
      shell.activateById(tab.id);
      return tab;
    }
  });

  commands.addCommand(Commands.openReport, {
    label: trans.__('Open the report'),
    icon: postdocIcon,
    describedBy: { args: schema({ session: 'The id of a session.', title: 'The title of the tab.' }) },
    isEnabled: args => text(args, 'session') !== '' || hasReport(postdoc, places.current()),
    execute: args => {
      const session = text(args, 'session') || places.current();
      if (!session) {
        return undefined;
      }
      const title = text(args, 'title') || store.getState().sessions?.[session]?.title || '';
      const url = client.url(`api/chats/${encodeURIComponent(session)}/report`);
      if (!postdoc.hasTabs) {
        window.open(url, '_blank', 'noopener,noreferrer');
        return undefined;
      }
      let report = postdoc.reports.find(each => each.session === session);
      if (report === undefined) {
        report = new ReportWidget({ session, title, url, store, trans });
        void postdoc.reports.add(report);
        shell.add(report, 'main', { type: 'Research report' });
      }
      shell.activateById(report.id);
      return report;
    }
  });

  commands.addCommand(Commands.connectGitHub, {
    label: trans.__('Connect GitHub…'),
    caption: trans.__('How GitHub is connected: as whom, with which rights'),
    icon: postdocIcon,
    describedBy: { args: schema({}) },
    execute: () => {
      const view = places.active();
      if (!view) {
        show();
      }
      (view ?? { navigation }).navigation.show('github');
    }
  });

  const step = (by: 1 | -1) => () => {
    const id = neighbour(store.getState(), places.current(), by);
    if (id !== null) {
      (places.active() ?? { navigation }).navigation.go({ view: 'session', id });
      if (!places.shows(id)) {
        shell.activateById(PANEL_ID);
      }
    }
  };
  commands.addCommand(Commands.next, {
    label: trans.__('Next session'),
    describedBy: { args: schema({}) },
    execute: step(1)
  });
  commands.addCommand(Commands.previous, {
    label: trans.__('Previous session'),
    describedBy: { args: schema({}) },
    execute: step(-1)
  });

  commands.addCommand(Commands.focusInput, {
    label: trans.__('Go to the message field'),
    describedBy: { args: schema({}) },
    execute: () => {
      const focused = document.activeElement;
      // A menu, a field and a dialog have their own use for the key.
      if (focused?.closest('[role=menu], [role=dialog], input, textarea, select, [contenteditable=true]')) {
        return;
      }
      places.active()?.focusInput();
    }
  });
}

function createTab(
  { platform, places, store, tabs, trans }: IPostdoc,
  rendermime: IRenderMimeRegistry,
  session: string,
  key: string
): PostdocView {
  const navigation = new Navigation(session === '' ? { view: 'sessions' } : { view: 'session', id: session });
  const tab = new PostdocView({ platform, rendermime, places, navigation, key });
  tab.id = `postdoc-tab-${tab.key}`;
  tab.title.closable = true;
  const name = () => {
    const title = store.getState().sessions?.[tab.session]?.title || trans.__('Research');
    tab.title.label = title.length > 40 ? `${title.slice(0, 39)}…` : title;
    tab.title.caption = title;
  };
  name();
  const stops = [
    store.subscribe(name),
    navigation.subscribe(name),
    navigation.subscribe(() => void tabs.save(tab))
  ];
  tab.disposed.connect(() => stops.forEach(stop => stop()));
  void tabs.add(tab);
  return tab;
}

function hasReport({ store }: IPostdoc, session: string | null): boolean {
  const project = session === null ? null : store.getState().sessions?.[session]?.project;
  return typeof project?.['report'] === 'string';
}

function hasNotebook({ store }: IPostdoc, session: string | null): boolean {
  return session !== null && pathOfNotebook(store.getState(), session) !== '';
}

function sessionAt(id: string): Route {
  return { view: 'session', id };
}

let asked = 0;

function newRoute(args: Args): Route {
  asked += 1;
  const topic = text(args, 'topic');
  const template = text(args, 'template');
  const context = contextOf(args['context']);
  return {
    view: 'new',
    ...(topic === '' ? {} : { topic }),
    ...(template === '' ? {} : { template }),
    ...(context.length === 0 ? {} : { context }),
    key: String(asked)
  };
}

/** Text, or a list of texts with labels; everything else is dropped. */
function contextOf(given: unknown): { label: string; text: string }[] {
  const list: unknown[] = Array.isArray(given) ? given : [given];
  return list.flatMap(each => {
    if (typeof each === 'string') {
      return each === '' ? [] : [{ label: each.split('\n', 1)[0]!.slice(0, 60), text: each }];
    }
    const { label, text } = (each ?? {}) as { label?: unknown; text?: unknown };
    return typeof label === 'string' && typeof text === 'string' ? [{ label, text }] : [];
  });
}

export function text(args: Args, key: string): string {
  const value = args[key];
  return typeof value === 'string' ? value : '';
}

/** The JSON schema of a command's arguments, all of them optional strings. */
export function schema(descriptions: Record<string, string>): ReadonlyJSONObject {
  const properties = Object.fromEntries(
    Object.entries(descriptions).map(([name, description]) => [name, { type: 'string', description }])
  );
  return { type: 'object', properties };
}
