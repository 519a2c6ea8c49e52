import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { Notifier } from '../lab/notifier';
import { Commands, IPostdoc } from '../lab/tokens';

/** Tells when a session that is not in view has finished, has failed or waits for an answer. */
export const notifications: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:notifications',
  description: 'Notifications of what happens in research sessions.',
  autoStart: true,
  requires: [IPostdoc],
  activate: (app: JupyterFrontEnd, { store, places, settings, trans }: IPostdoc): void => {
    new Notifier({
      store,
      places,
      settings,
      trans,
      open: session => void app.commands.execute(Commands.open, { session })
    });
  }
};
