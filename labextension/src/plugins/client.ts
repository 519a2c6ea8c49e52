import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILabShell } from '@jupyterlab/application';
import { WidgetTracker } from '@jupyterlab/apputils';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Documents } from '../lab/documents';
import { createMemory } from '../lab/memory';
import type { NotebookTab } from '../lab/notebookTab';
import { Places } from '../lab/places';
import { LabPlatform } from '../lab/platform';
import type { ReportWidget } from '../lab/report';
import { createLabServer } from '../lab/server';
import { LiveSettings } from '../lab/settings';
import { IPostdoc, IPostdocSettings } from '../lab/tokens';
import type { PostdocView } from '../lab/view';
import { createClient } from '../live';
import { Navigation } from '../navigation';

/** The connection to the server part, and everything the other plugins share. */
export const client: JupyterFrontEndPlugin<IPostdoc> = {
  id: 'jupyterlab-postdoc:client',
  description: 'The connection to the research agents.',
  autoStart: true,
  provides: IPostdoc,
  optional: [IPostdocSettings, ITranslator, IStateDB, IDocumentManager, INotebookTracker, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    settings: LiveSettings | null,
    translator: ITranslator | null,
    state: IStateDB | null,
    manager: IDocumentManager | null,
    notebooks: INotebookTracker | null,
    labShell: ILabShell | null
  ): IPostdoc => {
    const translations = translator ?? nullTranslator;
    const trans = translations.load('jupyterlab_postdoc');
    const hasTabs = labShell !== null;
    const { client, store, setFlush } = createClient(createLabServer(app.serviceManager.serverSettings));
    const live = settings ?? new LiveSettings();
    const flush = () => setFlush(live.get().streamFlushMs);
    flush();
    live.subscribe(flush);
    const documents = new Documents({ app, trans, translator: translations, hasTabs, manager, notebooks });
    const places = new Places();
    const platform = new LabPlatform({
      app,
      client,
      store,
      trans,
      language: translations.languageCode,
      memory: createMemory(state),
      settings: live,
      documents,
      places
    });
    client.start();
    return {
      client,
      store,
      navigation: new Navigation(),
      settings: live,
      trans,
      platform,
      places,
      hasTabs,
      tabs: new WidgetTracker<PostdocView>({ namespace: 'postdoc-tabs' }),
      reports: new WidgetTracker<ReportWidget>({ namespace: 'postdoc-reports' }),
      notebooks: new WidgetTracker<NotebookTab>({ namespace: 'postdoc-notebooks' })
    };
  }
};
