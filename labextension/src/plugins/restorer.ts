import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILayoutRestorer } from '@jupyterlab/application';

import { Commands, IPostdoc, IPostdocPanel, PANEL_ID } from '../lab/tokens';
import type { PostdocView } from '../lab/view';

/** After a reload the panel and the tabs are where they were. */
export const restorer: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:restorer',
  description: 'Restores the research panel and its tabs.',
  autoStart: true,
  requires: [IPostdoc, IPostdocPanel],
  optional: [ILayoutRestorer],
  activate: (
    _: JupyterFrontEnd,
    { tabs, reports, notebooks }: IPostdoc,
    panel: PostdocView,
    restorer: ILayoutRestorer | null
  ): void => {
    if (restorer === null) {
      return;
    }
    restorer.add(panel, PANEL_ID);
    void restorer.restore(tabs, {
      command: Commands.openTab,
      args: tab => ({ session: tab.session, tab: tab.key }),
      name: tab => tab.id
    });
    void restorer.restore(reports, {
      command: Commands.openReport,
      args: report => ({ session: report.session, title: report.sessionTitle }),
      name: report => report.id
    });
    void restorer.restore(notebooks, {
      command: Commands.openLiveNotebook,
      args: notebook => ({ session: notebook.session, title: notebook.sessionTitle }),
      name: notebook => notebook.id
    });
  }
};
