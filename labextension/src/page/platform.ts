/** The plain page as the place the views run in: no JupyterLab, a browser and nothing else. */
import type { Client } from '../client';
import { createPageMarkdown } from '../markdown/page';
import { sessionOfNotebook } from '../components/notebook/path';
import type { Navigation } from '../navigation';
import type { Platform } from '../platform';
import type { Store } from '../store';
import { confirm, showReport } from './dialogs';
import { english, englishOf } from './english';
import { pageMemory } from './memory';
import type { PageSettings } from './settings';
import { showSettings } from './settings';

/** What the server writes into the page. `lab`: JupyterLab is there too, and opens files. */
export interface PageConfig {
  baseUrl: string;
  version: string;
  lab?: boolean;
}

/** Put text on the clipboard; rejects when the browser does not let the page. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard !== undefined) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // A page without TLS on another machine has no clipboard of this kind.
  const before = document.activeElement;
  const area = document.createElement('textarea');
  area.value = text;
  area.style.position = 'fixed';
  document.body.append(area);
  area.focus();
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  if (before instanceof HTMLElement) {
    before.focus();
  }
  if (!done) {
    throw new Error(english.__('The browser did not let the page copy.'));
  }
}

export function createPagePlatform(
  config: PageConfig,
  client: Client,
  store: Store,
  settings: PageSettings,
  navigation: Navigation
): Platform {
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
    language: englishOf(navigator.languages),
    markdown: createPageMarkdown(),
    memory: pageMemory(),
    settings: settings.get,
    onSettingsChanged: settings.onChanged,
    confirm: ask => confirm(ask, english),
    copy,
    openReport: (session, title) =>
      showReport(client.url(`api/chats/${encodeURIComponent(session)}/report`), title, english),
    openSettings: () => showSettings(settings, english),
    openNotebook: (path, cell) => {
      const route = navigation.get();
      const state = store.getState();
      const session = sessionOfNotebook(state, path, route.view === 'session' ? route.id : null);
      if (session !== null) {
        navigation.go({ view: 'notebook', id: session, ...(cell === undefined ? {} : { cell }) });
      } else if (config.lab) {
        inLab(path);
      }
    },
    ...(config.lab ? { openFile: inLab, openFolder: inLab } : {})
  };
}
