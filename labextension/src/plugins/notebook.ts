import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';

import { postdocIcon } from '../icons';
import { askWhere } from '../lab/send';
import { attempt } from '../lab/sessionCommands';
import { Commands, IPostdoc, PANEL_ID } from '../lab/tokens';
import { schema } from '../lab/viewCommands';

let asked = 0;

/** A button in the toolbar of notebooks that gives the selection to an agent; its place is in schema/notebook.json. */
export const notebook: JupyterFrontEndPlugin<void> = {
  id: 'jupyterlab-postdoc:notebook',
  description: 'Gives cells of notebooks to the agent.',
  autoStart: true,
  requires: [IPostdoc],
  optional: [INotebookTracker],
  activate: (app: JupyterFrontEnd, postdoc: IPostdoc, notebooks: INotebookTracker | null): void => {
    const { trans, store, places, client, navigation, platform } = postdoc;
    app.commands.addCommand(Commands.useSelection, {
      label: trans.__('Send to the agent…'),
      caption: trans.__('Give the selected text or cell to a research agent'),
      icon: postdocIcon,
      describedBy: { args: schema({}) },
      isEnabled: () => platform.context() !== null,
      execute: async () => {
        const excerpt = platform.context();
        if (excerpt === null) {
          return;
        }
        const id = places.current();
        const session = id === null ? undefined : store.getState().sessions?.[id];
        const sending = await askWhere(excerpt, session?.title ?? null, trans);
        if (sending === null) {
          return;
        }
        if (sending.to === 'session' && session) {
          const { message } = sending;
          const content = message === '' ? excerpt.text : `${message}\n\n${excerpt.text}`;
          await attempt(() => client.say(session.id, content, 'queue'));
        } else {
          asked += 1;
          navigation.go({ view: 'new', context: [excerpt], key: `selection-${asked}` });
          app.shell.activateById(PANEL_ID);
        }
      }
    });
    const changed = () => app.commands.notifyCommandChanged(Commands.useSelection);
    notebooks?.currentChanged.connect(changed);
    notebooks?.activeCellChanged.connect(changed);
  }
};
