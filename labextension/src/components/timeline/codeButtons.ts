/** The buttons of a code block inside of rendered markdown. That is no tree of React's, so they are made by hand. */
import type { Platform } from '../../platform';

const MADE = 'jp-Postdoc-CodeFrame';
const SHOWN_MS = 1500;

/** Give each code block in `host` its buttons: copy, and where there is a notebook, insert. */
export function withCodeButtons(host: HTMLElement, platform: Platform): void {
  host.querySelectorAll('pre').forEach(pre => {
    if (pre.parentElement === null || pre.parentElement.classList.contains(MADE)) {
      return;
    }
    const frame = document.createElement('div');
    frame.className = MADE;
    pre.replaceWith(frame);
    frame.append(pre, buttons(pre, platform));
    pre.tabIndex = 0; // it may scroll, and then the keyboard has to reach it
  });
}

function buttons(pre: HTMLElement, platform: Platform): HTMLElement {
  const { trans, insertCode } = platform;
  const code = () => (pre.textContent ?? '').replace(/\n$/, '');
  const bar = document.createElement('div');
  bar.className = 'jp-Postdoc-CodeFrame-buttons';
  const copy = button(trans.__('Copy'), () => {
    void platform.copy(code()).then(() => {
      copy.textContent = trans.__('Copied');
      window.setTimeout(() => (copy.textContent = trans.__('Copy')), SHOWN_MS);
    });
  });
  bar.append(copy);
  if (insertCode !== undefined) {
    bar.append(button(trans.__('Insert into notebook'), () => insertCode.call(platform, code())));
  }
  return bar;
}

function button(text: string, run: () => void): HTMLButtonElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'jp-Postdoc-Button jp-mod-plain';
  made.textContent = text;
  made.addEventListener('click', run);
  return made;
}
