/** JupyterLab and Notebook 7 as the place the views run in. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Dialog, showDialog } from '@jupyterlab/apputils';

import type { Client } from '../client';
import type { Ask, Memory, Platform, Settings, Trans } from '../platform';
import type { Store } from '../store';
import { sessionOfNotebook } from '../components/notebook/path';
import type { Documents, Excerpt } from './documents';
import type { Places } from './places';
import type { LiveSettings } from './settings';
import { Commands } from './tokens';

export interface LabPlatformOptions {
  readonly app: JupyterFrontEnd;
  readonly client: Client;
  readonly store: Store;
  readonly trans: Trans;
  readonly language: string;
  readonly memory: Memory;
  readonly settings: LiveSettings;
  readonly documents: Documents;
  readonly places: Places;
}

/**
 * Everything but the markdown, which is loaded with the views. Capabilities that come and go (a notebook in front) are
 * getters, so that a view that asks sees how things are now.
 */
export class LabPlatform implements Omit<Platform, 'markdown'> {
  readonly kind = 'lab';
  readonly client: Client;
  readonly store: Store;
  readonly trans: Trans;
  readonly language: string;
  readonly memory: Memory;

  constructor(private readonly options: LabPlatformOptions) {
    this.client = options.client;
    this.store = options.store;
    this.trans = options.trans;
    this.language = options.language;
    this.memory = options.memory;
  }

  readonly settings = (): Settings => this.options.settings.get();

  readonly onSettingsChanged = (listener: () => void): (() => void) =>
    this.options.settings.subscribe(listener);

  readonly confirm = async ({ title, body, accept, dangerous }: Ask): Promise<boolean> => {
    const { trans } = this;
    const label = { label: accept };
    const result = await showDialog({
      title,
      body,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Cancel') }),
        dangerous ? Dialog.warnButton(label) : Dialog.okButton(label)
      ],
      // Enter must not delete anything by mistake.
      defaultButton: dangerous ? 0 : 1
    });
    return result.button.accept;
  };

  readonly copy = async (text: string): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      Clipboard.copyToSystem(text); // no secure context, or not allowed
    }
  };

  /** A session's notebook opens alive; any other one as a file. */
  readonly openNotebook = (path: string, cell?: string): void => {
    const { app, documents, places } = this.options;
    const session = sessionOfNotebook(this.store.getState(), path, places.current());
    this.quietly(
      session === null
        ? documents.open(path, cell)
        : app.commands.execute(Commands.openLiveNotebook, {
            session,
            ...(cell === undefined ? {} : { cell })
          })
    );
  };

  readonly openFile = (path: string): void => this.quietly(this.options.documents.open(path));

  readonly openFolder = (path: string): void => this.quietly(this.options.documents.openFolder(path));

  readonly openReport = (session: string, title: string): void =>
    this.quietly(this.options.app.commands.execute(Commands.openReport, { session, title }));

  readonly openSession = (session: string): void =>
    this.quietly(this.options.app.commands.execute(Commands.openTab, { session }));

  get openSettings(): (() => void) | undefined {
    const { commands } = this.options.app;
    return commands.hasCommand('settingeditor:open')
      ? () => this.quietly(commands.execute('settingeditor:open', { query: 'Research' }))
      : undefined;
  }

  get pickFile(): ((title: string) => Promise<string | null>) | undefined {
    const { documents } = this.options;
    return documents.canPick ? title => documents.pick(title) : undefined;
  }

  get insertCode(): ((code: string) => void) | undefined {
    const { documents } = this.options;
    return documents.hasNotebook ? code => documents.insertCode(code) : undefined;
  }

  readonly context = (): Excerpt | null => this.options.documents.excerpt();

  /** Opening something that is not there is told by JupyterLab itself, in a dialog. */
  private quietly(work: Promise<unknown>): void {
    work.catch(error => console.warn(error));
  }
}
