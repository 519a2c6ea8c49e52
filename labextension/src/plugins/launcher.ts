import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';

import { Commands, IPostdoc } from '../lab/tokens';

/** A card in the launcher. */
export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:launcher',
  description: 'A card for a new research in the launcher.',
  autoStart: true,
  requires: [IPostdoc],
  optional: [ILauncher],
  activate: (_: JupyterFrontEnd, { trans }: IPostdoc, launcher: ILauncher | null): void => {
    launcher?.add({ command: Commands.create, category: trans.__('Research'), rank: 1 });
  }
};
