/** Files, notebooks and folders of the server, as the application shows them. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { PageConfig, URLExt } from '@jupyterlab/coreutils';
import type { IDocumentManager } from '@jupyterlab/docmanager';
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { ITranslator } from '@jupyterlab/translation';

import type { Trans } from '../platform';
import { codeEditorOf, notebookContext, editorContext, putIntoNotebook } from './selection';

export interface DocumentTools {
  readonly app: JupyterFrontEnd;
  readonly trans: Trans;
  readonly translator: ITranslator;
  /** Null in Notebook 7, where a page has room for one document. */
  readonly hasTabs: boolean;
  readonly manager: IDocumentManager | null;
  readonly notebooks: INotebookTracker | null;
}

/** What an agent is given of the user's work. */
export interface Excerpt {
  readonly label: string;
  readonly text: string;
}

export class Documents {
  constructor(private readonly tools: DocumentTools) {}

  /** Python files open as text: the notebook's own page runs code, and nobody asked for that. */
  async open(path: string, cell?: string): Promise<void> {
    const { commands } = this.tools.app;
    const asText = /\.(py|html?)$/i.test(path);
    const widget: unknown = await commands.execute(
      'docmanager:open',
      asText ? { path, factory: 'Editor' } : { path }
    );
    if (cell !== undefined) {
      await showFunction(widget, cell);
    }
  }

  /** The folder in the file browser; in Notebook 7 away from its tree, the tree in a window of its own. */
  async openFolder(path: string): Promise<void> {
    const { app, hasTabs } = this.tools;
    const here = hasTabs || PageConfig.getOption('notebookPage') === 'tree';
    if (here && app.commands.hasCommand('filebrowser:go-to-path')) {
      await app.commands.execute('filebrowser:go-to-path', { path });
      return;
    }
    const tree = URLExt.join(PageConfig.getBaseUrl(), 'tree', URLExt.encodeParts(path));
    window.open(tree, '_blank', 'noopener');
  }

  /** Null: cancelled, or a folder was chosen. */
  async pick(title: string): Promise<string | null> {
    const { manager, translator, app } = this.tools;
    if (manager === null) {
      return null;
    }
    const { FileDialog } = await import('@jupyterlab/filebrowser');
    const result = await FileDialog.getOpenFiles({ manager, title, translator });
    const file = result.button.accept ? result.value?.find(each => each.type !== 'directory') : undefined;
    return file === undefined ? null : app.serviceManager.contents.localPath(file.path);
  }

  get canPick(): boolean {
    return this.tools.manager !== null;
  }

  get hasNotebook(): boolean {
    return (this.tools.notebooks?.currentWidget ?? null) !== null;
  }

  /** A new code cell below the active one (the active one itself when it is empty). */
  insertCode(code: string): void {
    const panel = this.tools.notebooks?.currentWidget;
    if (panel) {
      putIntoNotebook(panel, code);
      this.tools.app.shell.activateById(panel.id);
    }
  }

  /** What is selected in the document in front: text, else the active cell, else the whole file by its path. */
  excerpt(): Excerpt | null {
    const { app, notebooks, trans } = this.tools;
    const front = app.shell.currentWidget;
    if (front === null) {
      return null;
    }
    const notebook = notebooks?.currentWidget ?? null;
    return notebook === front ? notebookContext(notebook, trans) : editorContext(front, trans);
  }
}

/** Bring the definition of a marimo cell into view. Nothing happens when there is none of that name. */
async function showFunction(widget: unknown, cell: string): Promise<void> {
  if (!/^\w+$/.test(cell)) {
    return;
  }
  const found = await codeEditorOf(widget);
  const lines = found?.model.sharedModel.getSource().split('\n') ?? [];
  const line = lines.findIndex(text => new RegExp(`^(async )?def ${cell}\\(`).test(text));
  if (found && line >= 0) {
    found.setCursorPosition({ line, column: 0 });
    found.revealPosition({ line, column: 0 });
  }
}
