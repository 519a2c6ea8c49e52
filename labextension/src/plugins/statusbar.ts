import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';

import { StatusItem } from '../lab/status';
import { Commands, IPostdoc } from '../lab/tokens';

/** How many sessions run and what they have cost, in the status bar while any does. */
export const statusbar: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:statusbar',
  description: 'Running research sessions in the status bar.',
  autoStart: true,
  requires: [IPostdoc],
  optional: [IStatusBar],
  activate: (app: JupyterFrontEnd, { store, trans }: IPostdoc, bar: IStatusBar | null): void => {
    if (bar === null) {
      return;
    }
    const item = new StatusItem(store, trans, () => void app.commands.execute(Commands.open));
    bar.registerStatusItem('jupyterlab-postdoc:statusbar', {
      item,
      align: 'left',
      rank: 10,
      isActive: () => item.isActive,
      activeStateChanged: item.activeChanged
    });
  }
};
