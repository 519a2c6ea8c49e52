/** What the plugins give to each other. */
import type { WidgetTracker } from '@jupyterlab/apputils';
import { Token } from '@lumino/coreutils';

import type { Client } from '../client';
import type { Navigation } from '../navigation';
import type { Trans } from '../platform';
import type { Store } from '../store';
import type { Places } from './places';
import type { NotebookTab } from './notebookTab';
import type { LabPlatform } from './platform';
import type { ReportWidget } from './report';
import type { LiveSettings } from './settings';
import type { PostdocView } from './view';

/** The connection to the research agents, and what shows them. Other extensions may use it. */
export interface IPostdoc {
  readonly client: Client;
  readonly store: Store;
  /** Where the panel is. */
  readonly navigation: Navigation;
  readonly settings: LiveSettings;
  readonly trans: Trans;
  /** Of the panel and of all tabs. */
  readonly platform: LabPlatform;
  readonly places: Places;
  /** Whether the main area has tabs; in Notebook 7 it has not: what would be one opens in a window of the browser. */
  readonly hasTabs: boolean;
  /** Sessions, reports and live notebooks in tabs. */
  readonly tabs: WidgetTracker<PostdocView>;
  readonly reports: WidgetTracker<ReportWidget>;
  readonly notebooks: WidgetTracker<NotebookTab>;
}

export const IPostdoc = new Token<IPostdoc>(
  'jupyterlab-postdoc:IPostdoc',
  'The research agents of this server: their sessions, commands, and where the panel is.'
);

export const IPostdocSettings = new Token<LiveSettings>(
  'jupyterlab-postdoc:IPostdocSettings',
  'The settings of the research panel.'
);

/** The panel in the sidebar. */
export const IPostdocPanel = new Token<PostdocView>(
  'jupyterlab-postdoc:IPostdocPanel',
  'The research panel in the sidebar.'
);

export const PANEL_ID = 'postdoc-panel';

/** The commands' ids; what they do and take is in plugins/commands.ts. */
export const Commands = {
  open: 'postdoc:open',
  create: 'postdoc:new',
  stop: 'postdoc:stop',
  resume: 'postdoc:resume',
  openNotebook: 'postdoc:open-notebook',
  openLiveNotebook: 'postdoc:open-live-notebook',
  takeNotebook: 'postdoc:take-notebook',
  giveNotebook: 'postdoc:give-notebook',
  openReport: 'postdoc:open-report',
  openFolder: 'postdoc:open-folder',
  copyReport: 'postdoc:copy-report',
  next: 'postdoc:next-session',
  previous: 'postdoc:previous-session',
  openTab: 'postdoc:open-tab',
  connectGitHub: 'postdoc:connect-github',
  focusInput: 'postdoc:focus-input',
  researchFile: 'postdoc:research-file',
  useSelection: 'postdoc:use-selection'
} as const;
