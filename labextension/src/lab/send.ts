/** The dialog that gives a selection to an agent. */
import { Dialog } from '@jupyterlab/apputils';
import { Widget } from '@lumino/widgets';

import type { Trans } from '../platform';
import type { Excerpt } from './documents';

/** `message`: what to do with it, for the session that is open. */
export type Sending = { readonly to: 'new' } | { readonly to: 'session'; readonly message: string } | null;

/** Ask where an excerpt goes; null: nowhere. `title` is the open session's, null when none is open. */
export async function askWhere(excerpt: Excerpt, title: string | null, trans: Trans): Promise<Sending> {
  if (title === null) {
    return { to: 'new' };
  }
  const create = Dialog.createButton({
    label: trans.__('New research'),
    actions: ['new'],
    displayType: 'default',
    className: 'jp-PostdocSend-new'
  });
  const dialog = new Dialog<string>({
    title: trans.__('Send to “%1”', title.length > 60 ? `${title.slice(0, 59)}…` : title),
    body: new MessageBody(excerpt, trans),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      create,
      Dialog.okButton({ label: trans.__('Send') })
    ],
    focusNodeSelector: 'textarea'
  });
  const result = await dialog.launch();
  if (!result.button.accept) {
    return null;
  }
  return result.button.actions.includes('new')
    ? { to: 'new' }
    : { to: 'session', message: result.value ?? '' };
}

class MessageBody extends Widget implements Dialog.IBodyWidget<string> {
  private readonly field = document.createElement('textarea');

  constructor(excerpt: Excerpt, trans: Trans) {
    super();
    this.addClass('jp-PostdocSend');
    const label = document.createElement('label');
    label.textContent = trans.__('What should the agent do with it?');
    this.field.className = 'jp-mod-styled';
    this.field.rows = 3;
    label.appendChild(this.field);
    const what = document.createElement('p');
    what.textContent = excerpt.label;
    const preview = document.createElement('pre');
    preview.textContent = excerpt.text;
    this.node.append(label, what, preview);
  }

  getValue(): string {
    return this.field.value.trim();
  }
}
