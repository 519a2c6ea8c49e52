/** The plugins of the panel for JupyterLab and Notebook 7. Each can be switched off without the others. */
import type { JupyterFrontEndPlugin } from '@jupyterlab/application';

import { client } from './plugins/client';
import { commands } from './plugins/commands';
import { filebrowser } from './plugins/filebrowser';
import { launcher } from './plugins/launcher';
import { notebook } from './plugins/notebook';
import { notifications } from './plugins/notifications';
import { panel } from './plugins/panel';
import { restorer } from './plugins/restorer';
import { settings } from './plugins/settings';
import { statusbar } from './plugins/statusbar';

export { IPostdoc } from './lab/tokens';

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- what each provides differs
const plugins: JupyterFrontEndPlugin<any>[] = [
  settings,
  client,
  panel,
  commands,
  launcher,
  filebrowser,
  statusbar,
  notebook,
  notifications,
  restorer
];

export default plugins;
