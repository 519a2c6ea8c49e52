/** A report in a tab: what an agent made, in a frame without rights. */
import { IFrame, MainAreaWidget, Toolbar, ToolbarButton } from '@jupyterlab/apputils';
import { launchIcon, refreshIcon } from '@jupyterlab/ui-components';

import { postdocIcon } from '../icons';
import type { State } from '../model';
import type { Trans } from '../platform';
import type { Store } from '../store';
import { isBusy } from './notices';

export interface ReportOptions {
  readonly session: string;
  readonly title: string;
  /** Of the report; it holds no token. */
  readonly url: string;
  readonly store: Store;
  readonly trans: Trans;
}

/** Loads again when the session has made a new report. */
export class ReportWidget extends MainAreaWidget<IFrame> {
  readonly session: string;
  readonly sessionTitle: string;
  private readonly unsubscribe: () => void;

  constructor({ session, title, url, store, trans }: ReportOptions) {
    // No scripts, no forms, an origin of its own: the server's headers say so too. References open elsewhere.
    const frame = new IFrame({ sandbox: [], referrerPolicy: 'no-referrer' });
    super({ content: frame });
    this.session = session;
    this.sessionTitle = title;
    this.id = `postdoc-report-${session}`;
    this.addClass('jp-PostdocReport');
    this.title.label = title === '' ? trans.__('Report') : trans.__('Report: %1', title);
    this.title.caption = this.title.label;
    this.title.icon = postdocIcon;
    this.title.closable = true;

    const name = this.title.label;
    const inner = frame.node.querySelector('iframe');
    inner?.setAttribute('title', name);
    inner?.setAttribute('sandbox', 'allow-popups allow-popups-to-escape-sandbox');
    const load = () => {
      frame.url = url;
    };
    load();

    this.toolbar.addItem(
      'reload',
      new ToolbarButton({ icon: refreshIcon, tooltip: trans.__('Load the report again'), onClick: load })
    );
    this.toolbar.addItem('spacer', Toolbar.createSpacerItem());
    this.toolbar.addItem(
      'open',
      new ToolbarButton({
        icon: launchIcon,
        label: trans.__('Open in browser tab'),
        onClick: () => void window.open(url, '_blank', 'noopener,noreferrer')
      })
    );

    let made = reportOf(store.getState(), session);
    this.unsubscribe = store.subscribe(() => {
      const now = reportOf(store.getState(), session);
      if (now !== made) {
        const renewed = made !== null && now !== null;
        made = now ?? made;
        if (renewed) {
          load();
        }
      }
    });
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.unsubscribe();
      super.dispose();
    }
  }
}

/** What identifies the newest report of a session as far as this client knows; null: it does not, or work goes on. */
export function reportOf(state: State, session: string): string | null {
  const info = state.sessions?.[session];
  const report = info?.project?.['report'];
  if (!info || typeof report !== 'string' || isBusy(info)) {
    return null;
  }
  // Each step of a run is a commit, and the report is made at the end: only a run that is over counts.
  return `${report}@${String(info.project?.['commit'] ?? '')}`;
}
