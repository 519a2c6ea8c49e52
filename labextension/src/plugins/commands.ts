import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

import { registerSessionCommands } from '../lab/sessionCommands';
import { registerViewCommands } from '../lab/viewCommands';
import { Commands, IPostdoc } from '../lab/tokens';

/** The commands, and those of them that need no argument in the palette. */
export const commands: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:commands',
  description: 'Commands for research sessions.',
  autoStart: true,
  requires: [IPostdoc, IRenderMimeRegistry],
  optional: [ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    postdoc: IPostdoc,
    rendermime: IRenderMimeRegistry,
    palette: ICommandPalette | null
  ): void => {
    registerViewCommands(app, postdoc, rendermime);
    registerSessionCommands(app, postdoc);
    const category = postdoc.trans.__('Research');
    const {
      open,
      create,
      openTab,
      stop,
      resume,
      openNotebook,
      openLiveNotebook,
      takeNotebook,
      giveNotebook,
      openReport,
      openFolder,
      copyReport,
      connectGitHub,
      next,
      previous
    } = Commands;
    [
      open,
      create,
      openTab,
      stop,
      resume,
      openNotebook,
      openLiveNotebook,
      takeNotebook,
      giveNotebook,
      openReport,
      openFolder,
      copyReport,
      connectGitHub,
      next,
      previous
    ].forEach((command, rank) => palette?.addItem({ command, category, rank }));
  }
};
