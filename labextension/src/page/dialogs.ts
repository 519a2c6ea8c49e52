/** Dialogs of the plain page. The browser keeps the focus inside, closes on Esc and gives the focus back. */
import type { Ask, Trans } from '../platform';

type Kind = 'accept' | 'warn' | 'plain';

export interface Dialog {
  readonly element: HTMLDialogElement;
  readonly body: HTMLElement;
  /** A button that closes it; `value` is then what {@link Dialog.show} resolves to. */
  button(label: string, kind: Kind, value?: string): HTMLButtonElement;
  /** Open it. Resolves when it was closed: to the value of the button, or to "" after Esc. */
  show(focus?: HTMLElement): Promise<string>;
}

let made = 0;

/** A dialog with a heading, a body, and a row of buttons; not shown yet. */
export function openDialog(title: string): Dialog {
  made += 1;
  const element = document.createElement('dialog');
  element.className = 'jp-Postdoc jp-Postdoc-Dialog';
  const heading = document.createElement('h2');
  heading.id = `postdoc-dialog-${made}`;
  heading.textContent = title;
  element.setAttribute('aria-labelledby', heading.id);
  const body = document.createElement('div');
  body.className = 'jp-Postdoc-Dialog-body';
  body.id = `${heading.id}-body`;
  const buttons = document.createElement('div');
  buttons.className = 'jp-Postdoc-Dialog-buttons';
  element.append(heading, body, buttons);
  return {
    element,
    body,
    button: (label, kind, value = '') => {
      const button = document.createElement('button');
      button.type = 'button';
      button.className = `jp-Postdoc-Button jp-mod-${kind}`;
      button.textContent = label;
      button.addEventListener('click', () => element.close(value));
      buttons.append(button);
      return button;
    },
    show: focus =>
      new Promise(resolve => {
        element.addEventListener('close', () => {
          element.remove();
          resolve(element.returnValue);
        });
        document.body.append(element);
        element.showModal();
        focus?.focus();
      })
  };
}

/** A question. Whoever presses Enter without reading deletes nothing. */
export async function confirm({ title, body, accept, dangerous }: Ask, trans: Trans): Promise<boolean> {
  const dialog = openDialog(title);
  const text = document.createElement('p');
  text.textContent = body;
  dialog.body.append(text);
  dialog.element.setAttribute('aria-describedby', dialog.body.id);
  const no = dialog.button(trans.__('Cancel'), 'plain');
  const yes = dialog.button(accept, dangerous ? 'warn' : 'accept', 'yes');
  return (await dialog.show(dangerous ? no : yes)) === 'yes';
}

/** A report in a frame of its own: no script, no right in this page. The server's headers say so too. */
export function showReport(url: string, title: string, trans: Trans): void {
  const dialog = openDialog(title);
  dialog.element.classList.add('jp-mod-report');
  const link = document.createElement('a');
  link.className = 'jp-Postdoc-Button jp-mod-link';
  link.href = url;
  link.target = '_blank';
  link.rel = 'noopener noreferrer';
  link.textContent = trans.__('Open in a tab');
  const close = dialog.button(trans.__('Close'), 'plain');
  close.before(link);
  const frame = document.createElement('iframe');
  // Its references open elsewhere; nothing else is allowed.
  frame.setAttribute('sandbox', 'allow-popups allow-popups-to-escape-sandbox');
  frame.referrerPolicy = 'no-referrer';
  frame.title = trans.__('Report “%1”', title);
  frame.src = url;
  dialog.body.append(frame);
  void dialog.show(close);
}
