/** The plain page as the place the views run in: no JupyterLab, a browser and nothing else. */
import type { Client } from '../client';
import { createPageMarkdown } from '../markdown/page';
import type { Ask, Memory, Platform, Trans } from '../platform';
import { DEFAULT_SETTINGS } from '../platform';
import type { Store } from '../store';

/** What the server writes into the page. `lab`: JupyterLab is there too, and opens files. */
export interface PageConfig {
  baseUrl: string;
  version: string;
  lab?: boolean;
}

/** English as it is written; `%1` stands for the first argument, in plurals for the number. */
export const english: Trans = {
  __: (message, ...args) => fill(message, args),
  _n: (singular, plural, n, ...args) => fill(n === 1 ? singular : plural, [n, ...args])
};

function fill(message: string, args: readonly unknown[]): string {
  return message.replace(/%(\d)/g, (whole, n: string) => {
    const value = args[Number(n) - 1];
    return value === undefined ? whole : String(value);
  });
}

const PREFIX = 'postdoc:';

/** Remembers in this browser; where that is switched off, as long as the page is open. */
export function pageMemory(): Memory {
  const own = new Map<string, unknown>();
  return {
    get: async key => {
      if (own.has(key)) {
        return own.get(key);
      }
      try {
        const text = window.localStorage.getItem(PREFIX + key);
        return text === null ? undefined : (JSON.parse(text) as unknown);
      } catch {
        return undefined;
      }
    },
    set: async (key, value) => {
      own.set(key, value);
      try {
        window.localStorage.setItem(PREFIX + key, JSON.stringify(value));
      } catch {
        // full, or forbidden: it is remembered until the page is closed
      }
    }
  };
}

/** A question in a dialog of the browser; Esc declines. */
function confirm({ title, body, accept, dangerous }: Ask): Promise<boolean> {
  return new Promise(resolve => {
    const dialog = document.createElement('dialog');
    dialog.className = 'jp-Postdoc jp-Postdoc-Dialog';
    dialog.setAttribute('aria-labelledby', 'postdoc-dialog-title');
    const heading = document.createElement('h2');
    heading.id = 'postdoc-dialog-title';
    heading.textContent = title;
    const text = document.createElement('p');
    text.textContent = body;
    const buttons = document.createElement('div');
    const button = (label: string, kind: string, yes: boolean) => {
      const made = document.createElement('button');
      made.type = 'button';
      made.className = `jp-Postdoc-Button jp-mod-${kind}`;
      made.textContent = label;
      made.addEventListener('click', () => dialog.close(yes ? 'yes' : ''));
      buttons.append(made);
      return made;
    };
    const no = button(english.__('Cancel'), 'plain', false);
    const yes = button(accept, dangerous ? 'warn' : 'accept', true);
    dialog.append(heading, text, buttons);
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
    (dangerous ? no : yes).focus();
  });
}

/** A report in a frame of its own, without any right in this page. */
export function showReport(url: string, title: string): void {
  const dialog = document.createElement('dialog');
  dialog.className = 'jp-Postdoc jp-Postdoc-Dialog jp-mod-report';
  dialog.setAttribute('aria-label', english.__('Report “%1”', title));
  const head = document.createElement('div');
  const heading = document.createElement('h2');
  heading.textContent = title;
  const link = document.createElement('a');
  link.href = url;
  link.target = '_blank';
  link.rel = 'noopener noreferrer';
  link.textContent = english.__('Open in a tab');
  const close = document.createElement('button');
  close.type = 'button';
  close.className = 'jp-Postdoc-Button jp-mod-plain';
  close.textContent = english.__('Close');
  close.addEventListener('click', () => dialog.close());
  head.append(heading, link, close);
  const frame = document.createElement('iframe');
  frame.setAttribute('sandbox', 'allow-popups allow-popups-to-escape-sandbox');
  frame.referrerPolicy = 'no-referrer';
  frame.title = english.__('Report “%1”', title);
  frame.src = url;
  dialog.append(head, frame);
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function copy(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // A page without TLS on another machine has no clipboard of this kind.
  const area = document.createElement('textarea');
  area.value = text;
  area.style.position = 'fixed';
  document.body.append(area);
  area.select();
  document.execCommand('copy');
  area.remove();
}

export function createPagePlatform(config: PageConfig, client: Client, store: Store): Platform {
  const base = config.baseUrl.replace(/\/*$/, '/');
  const inLab = (path: string) => {
    const where = path.split('/').map(encodeURIComponent).join('/');
    window.open(`${base}lab/tree/${where}`, '_blank', 'noopener,noreferrer');
  };
  return {
    kind: 'page',
    client,
    store,
    trans: english,
    language: navigator.language || 'en',
    markdown: createPageMarkdown(),
    memory: pageMemory(),
    settings: () => DEFAULT_SETTINGS,
    onSettingsChanged: () => () => undefined,
    confirm,
    copy,
    openReport: (session, title) =>
      showReport(client.url(`api/chats/${encodeURIComponent(session)}/report`), title),
    ...(config.lab ? { openNotebook: inLab, openFile: inLab, openFolder: inLab } : {})
  };
}
