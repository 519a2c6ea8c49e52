/** What is selected in notebooks and editors. */
import type { CodeEditor } from '@jupyterlab/codeeditor';
import type { NotebookPanel } from '@jupyterlab/notebook';

import type { Trans } from '../platform';
import type { Excerpt } from './documents';

/** The parts of a document's widget that are used; text editors and notebooks have them. */
interface DocumentLike {
  readonly context?: { readonly path?: string; readonly ready?: Promise<unknown> };
  readonly content?: { readonly editor?: CodeEditor.IEditor };
}

/** The text editor inside of a document's widget, when it is ready and is one. */
export async function codeEditorOf(widget: unknown): Promise<CodeEditor.IEditor | null> {
  const { context, content } = (widget ?? {}) as DocumentLike;
  await context?.ready;
  return content?.editor ?? null;
}

/** The selected text of an editor, "" when nothing is selected. */
export function selectedText(editor: CodeEditor.IEditor | null | undefined): string {
  if (!editor) {
    return '';
  }
  const { start, end } = editor.getSelection();
  const from = editor.getOffsetAt(start);
  const to = editor.getOffsetAt(end);
  return editor.model.sharedModel.getSource().slice(Math.min(from, to), Math.max(from, to));
}

export function notebookContext(panel: NotebookPanel, trans: Trans): Excerpt {
  const path = panel.context.path;
  const { activeCell, activeCellIndex, widgets } = panel.content;
  const part = selectedText(activeCell?.editor);
  if (part.trim() !== '') {
    return { label: trans.__('Selection in %1', name(path)), text: quote(path, part) };
  }
  const cells = widgets.filter(cell => panel.content.isSelectedOrActive(cell));
  const source = cells.map(cell => cell.model.sharedModel.getSource()).join('\n\n');
  const label =
    cells.length > 1
      ? trans.__('%1 cells of %2', cells.length, name(path))
      : trans.__('Cell %1 of %2', activeCellIndex + 1, name(path));
  return { label, text: quote(path, source) };
}

/** Null when the widget shows no file. */
export function editorContext(widget: unknown, trans: Trans): Excerpt | null {
  const { context, content } = (widget ?? {}) as DocumentLike;
  const path = context?.path;
  if (typeof path !== 'string' || path === '') {
    return null;
  }
  const part = selectedText(content?.editor);
  return part.trim() === ''
    ? { label: name(path), text: path }
    : { label: trans.__('Selection in %1', name(path)), text: quote(path, part) };
}

/** A new code cell below the active one; an empty active code cell is filled instead. */
export function putIntoNotebook(panel: NotebookPanel, code: string): void {
  const notebook = panel.content;
  const model = notebook.model?.sharedModel;
  if (!model) {
    return;
  }
  const active = notebook.activeCell?.model;
  if (active?.type === 'code' && active.sharedModel.getSource().trim() === '') {
    active.sharedModel.setSource(code);
    return;
  }
  const at = notebook.activeCell === null ? 0 : notebook.activeCellIndex + 1;
  model.insertCell(at, { cell_type: 'code', source: code });
  notebook.activeCellIndex = at;
}

/** Code with the file that it is from, in a fence that its own backticks cannot close. */
export function quote(path: string, code: string): string {
  const longest = Math.max(2, ...(code.match(/`+/g) ?? []).map(run => run.length));
  const fence = '`'.repeat(longest + 1);
  return `${path}:\n${fence}\n${code.replace(/\n+$/, '')}\n${fence}`;
}

function name(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
