import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IDefaultFileBrowser, IFileBrowserFactory } from '@jupyterlab/filebrowser';

import { postdocIcon } from '../icons';
import type { Chosen } from '../lab/context';
import { aboutFiles, isSubject } from '../lab/context';
import { Commands, IPostdoc, PANEL_ID } from '../lab/tokens';
import { schema } from '../lab/viewCommands';

let asked = 0;

/** "Research this with the agent…" in the context menu of files and folders; its place is in schema/filebrowser.json. */
export const filebrowser: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:filebrowser',
  description: 'Research about files and folders, from the file browser.',
  autoStart: true,
  requires: [IPostdoc],
  optional: [IFileBrowserFactory, IDefaultFileBrowser],
  activate: (
    app: JupyterFrontEnd,
    { trans, navigation }: IPostdoc,
    factory: IFileBrowserFactory | null,
    browser: IDefaultFileBrowser | null
  ): void => {
    const { contents } = app.serviceManager;
    const chosen = (): Chosen[] => {
      const current = factory?.tracker.currentWidget ?? browser;
      return Array.from(current?.selectedItems() ?? [], ({ path, type }) => ({
        path: contents.localPath(path),
        type
      }));
    };
    app.commands.addCommand(Commands.researchFile, {
      label: trans.__('Research this with the agent…'),
      icon: postdocIcon,
      describedBy: { args: schema({}) },
      isVisible: () => {
        const items = chosen();
        return items.length > 0 && items.every(isSubject);
      },
      execute: () => {
        const items = chosen();
        if (items.length > 0) {
          asked += 1;
          navigation.go(aboutFiles(items, `files-${asked}`));
          app.shell.activateById(PANEL_ID);
        }
      }
    });
  }
};
