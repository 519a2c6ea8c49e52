/** A session's live notebook in a tab of the main area. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { notebookIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import type { MountedNotebook } from './mount';
import type { IPostdoc } from './tokens';

export interface NotebookTabOptions {
  readonly postdoc: IPostdoc;
  readonly rendermime: IRenderMimeRegistry;
  readonly session: string;
  /** Of the session; "" when it is not known yet. */
  readonly title: string;
  /** The name of a cell to bring into view; "" for none. */
  readonly cell: string;
  /** Shows the session. */
  readonly onSession: (session: string) => void;
}

/** What it shows is started when it is seen for the first time: a restored tab in the background starts nothing. */
export class NotebookTab extends Widget {
  readonly session: string;
  private mounted: MountedNotebook | null = null;
  private mounting = false;
  private cell: string;
  private readonly unsubscribe: () => void;

  constructor(private readonly options: NotebookTabOptions) {
    super();
    const { postdoc, session } = options;
    this.session = session;
    this.cell = options.cell;
    this.id = `postdoc-notebook-${session}`;
    this.addClass('jp-PostdocView');
    this.addClass('jp-PostdocNotebook');
    this.node.tabIndex = -1;
    this.title.icon = notebookIcon;
    this.title.closable = true;
    this.name();
    this.unsubscribe = postdoc.store.subscribe(() => this.name());
  }

  /** The session's title as it is known now. */
  get sessionTitle(): string {
    const known = this.options.postdoc.store.getState().sessions?.[this.session]?.title;
    return known || this.options.title;
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.unsubscribe();
      this.mounted?.dispose();
      this.mounted = null;
      super.dispose();
    }
  }

  /** Bring a cell into view; "": nothing. */
  goTo(cell: string): void {
    if (cell !== '') {
      this.cell = cell;
      this.mounted?.goTo(cell);
    }
  }

  /** Closed, it is gone: one that is opened later is another one. */
  protected override onCloseRequest(message: Message): void {
    super.onCloseRequest(message);
    this.dispose();
  }

  protected override onAfterShow(_: Message): void {
    void this.mount();
  }

  protected override onAfterAttach(_: Message): void {
    if (this.isVisible) {
      void this.mount();
    }
  }

  protected override onActivateRequest(_: Message): void {
    void this.mount();
    if (!this.node.contains(document.activeElement)) {
      this.node.focus({ preventScroll: true });
    }
  }

  private name(): void {
    const { trans } = this.options.postdoc;
    const title = this.sessionTitle;
    const label = title === '' ? trans.__('Notebook') : trans.__('Notebook: %1', title);
    if (this.title.label !== label) {
      this.title.label = label;
      this.title.caption = label;
    }
  }

  private async mount(): Promise<void> {
    if (this.mounting || this.isDisposed) {
      return;
    }
    this.mounting = true;
    const { postdoc, rendermime, session, onSession } = this.options;
    try {
      const { mountNotebook } = await import('./mount');
      if (!this.isDisposed) {
        this.mounted = mountNotebook(this.node, postdoc.platform, rendermime, {
          session,
          cell: this.cell,
          navigation: postdoc.navigation,
          onSession: () => onSession(session)
        });
      }
    } catch (error) {
      this.mounting = false; // shown again, it is tried again
      console.error(error);
      this.node.textContent = postdoc.trans.__('The notebook could not be loaded. Reload the page.');
    }
  }
}
