import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { createClient } from '../../live';
import { Navigation } from '../../navigation';
import { Wire } from '../../__tests__/wire';
import { chat } from '../../components/sessions/__tests__/desk';
import { EMPTY_STATE } from '../../store';
import { confirm, showReport } from '../dialogs';
import { english, englishOf } from '../english';
import { pageMemory } from '../memory';
import { createPagePlatform } from '../platform';
import { PageSettings, showSettings } from '../settings';
import { titleOf } from '../title';

const dialog = () => document.querySelector('dialog');
const button = (text: string) =>
  [...document.querySelectorAll<HTMLButtonElement>('dialog button')].find(one => one.textContent === text);

beforeEach(() => {
  window.localStorage.clear();
  // jsdom knows the element but not how it is opened and closed.
  const element = HTMLDialogElement.prototype;
  element.showModal = function () {
    this.open = true;
  };
  element.close = function (value?: string) {
    this.open = false;
    this.returnValue = value ?? this.returnValue;
    this.dispatchEvent(new Event('close'));
  };
});

afterEach(() => {
  document.body.replaceChildren();
  delete document.documentElement.dataset.theme;
});

async function expectAccessible(): Promise<void> {
  const rules = { 'color-contrast': { enabled: false }, region: { enabled: false } };
  const { violations } = await axe.run(document.body, { rules, iframes: false });
  expect(violations.map(one => one.id)).toEqual([]);
}

describe('English', () => {
  it('fills in what is there and leaves the rest', () => {
    expect(english.__('%2 of %1', 9, 4)).toBe('4 of 9');
    expect(english.__('%1 and %2', '%2')).toBe('%2 and %2');
    expect(english.__('95 % of %1', 'it')).toBe('95 % of it');
  });

  it('knows one and many; %1 is the number', () => {
    expect(english._n('%1 step of %2', '%1 steps of %2', 1, 'a')).toBe('1 step of a');
    expect(english._n('%1 step of %2', '%1 steps of %2', 0, 'a')).toBe('0 steps of a');
  });

  it('writes dates in the reader’s English', () => {
    expect(englishOf(['de-DE', 'en-GB', 'en'])).toBe('en-GB');
    expect(englishOf(['de-DE', 'enm'])).toBe('en');
  });
});

describe('memory', () => {
  it('keeps, also for the next page', async () => {
    await pageMemory().set('draft:c1', { text: 'Hello' });
    expect(await pageMemory().get('draft:c1')).toEqual({ text: 'Hello' });
    expect(await pageMemory().get('draft:c2')).toBeUndefined();
  });

  it('hears of what another tab has kept', async () => {
    const [here, there] = [pageMemory(), pageMemory()];
    await here.set('seen', 1);
    await there.set('seen', 2);
    expect(await here.get('seen')).toBe(2);
  });

  it('lasts as long as the page where the browser keeps nothing', async () => {
    vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
      throw new DOMException('full', 'QuotaExceededError');
    });
    const memory = pageMemory();
    await memory.set('seen', 3);
    expect(await memory.get('seen')).toBe(3);
    expect(await pageMemory().get('seen')).toBeUndefined();
  });

  it('has nothing where something unreadable was kept', async () => {
    window.localStorage.setItem('postdoc:seen', '{');
    expect(await pageMemory().get('seen')).toBeUndefined();
  });
});

describe('a question', () => {
  const ask = { title: 'Delete “<b>x</b>”?', body: 'For <i>good</i>.', accept: 'Delete', dangerous: true };

  it('is text, and begins at the harmless button when it is dangerous', async () => {
    const answer = confirm(ask, english);
    expect(dialog()?.querySelector('b, i')).toBeNull();
    expect(dialog()?.textContent).toContain('Delete “<b>x</b>”?');
    expect(document.activeElement).toBe(button('Cancel'));
    await expectAccessible();
    button('Delete')?.click();
    expect(await answer).toBe(true);
    expect(dialog()).toBeNull();
  });

  it('is declined by Cancel and by Esc', async () => {
    const cancelled = confirm({ ...ask, dangerous: false }, english);
    expect(document.activeElement).toBe(button('Delete'));
    button('Cancel')?.click();
    expect(await cancelled).toBe(false);
    const escaped = confirm(ask, english);
    dialog()?.close(); // what the browser does on Esc
    expect(await escaped).toBe(false);
  });
});

describe('a report', () => {
  it('has no right in the page', async () => {
    showReport('/postdoc/api/chats/c1/report', 'A <script>', english);
    const frame = dialog()?.querySelector('iframe');
    expect(frame?.getAttribute('sandbox')).toBe('allow-popups allow-popups-to-escape-sandbox');
    expect(frame?.title).toBe('Report “A <script>”');
    expect(dialog()?.querySelector('a')?.rel).toBe('noopener noreferrer');
    await expectAccessible();
    button('Close')?.click();
    expect(dialog()).toBeNull();
  });
});

describe('settings', () => {
  const choose = (label: string, value: string) => {
    const field = [...document.querySelectorAll('dialog label')].find(one =>
      one.textContent?.startsWith(label)
    );
    const select = field?.querySelector('select');
    if (!select) {
      throw new Error(`no field ${label}`);
    }
    select.value = value;
    select.dispatchEvent(new Event('change'));
  };

  it('hold at once, and the next time', async () => {
    const settings = new PageSettings();
    let heard = 0;
    settings.onChanged(() => (heard += 1));
    expect(document.documentElement.dataset.theme).toBeUndefined();
    showSettings(settings, english);
    await expectAccessible();
    choose('Appearance', 'dark');
    expect(document.documentElement.dataset.theme).toBe('dark');
    choose('Send', 'shift');
    choose('Thinking', 'live');
    choose('Steps', 'all');
    expect(heard).toBe(4);
    delete document.documentElement.dataset.theme;
    const next = new PageSettings();
    expect(document.documentElement.dataset.theme).toBe('dark');
    expect(next.get()).toMatchObject({
      sendWithShiftEnter: true,
      showThinking: 'live',
      foldToolCalls: false
    });
    next.set({ theme: 'auto' });
    expect(document.documentElement.dataset.theme).toBeUndefined();
  });

  it('are one object until they change, as React wants it', () => {
    const settings = new PageSettings();
    const first = settings.get();
    expect(settings.get()).toBe(first);
    settings.set({ foldToolCalls: false });
    expect(settings.get()).not.toBe(first);
  });

  it.each(['null', '[]', '"dark"', '{"theme":"pink","showThinking":7}', '{'])(
    'are the defaults after %s',
    text => {
      window.localStorage.setItem('postdoc:settings', text);
      const settings = new PageSettings();
      expect(settings.theme).toBe('auto');
      expect(settings.get()).toMatchObject({ showThinking: 'collapsed', foldToolCalls: true });
    }
  );

  it('follow another tab', () => {
    const settings = new PageSettings();
    window.localStorage.setItem('postdoc:settings', '{"theme":"light"}');
    window.dispatchEvent(new StorageEvent('storage', { key: 'postdoc:settings' }));
    expect(settings.theme).toBe('light');
    expect(document.documentElement.dataset.theme).toBe('light');
  });
});

describe('the platform', () => {
  const platform = (lab: boolean) => {
    const { client, store } = createClient(new Wire());
    return createPagePlatform(
      { baseUrl: '/user/ana/', version: '1', lab },
      client,
      store,
      new PageSettings(),
      new Navigation()
    );
  };

  it('opens files only where JupyterLab is', () => {
    expect(platform(false).openFile).toBeUndefined();
    const opened = vi.spyOn(window, 'open').mockReturnValue(null);
    platform(true).openNotebook?.('my folder/a#1?.py');
    expect(opened).toHaveBeenCalledWith(
      '/user/ana/lab/tree/my%20folder/a%231%3F.py',
      '_blank',
      'noopener,noreferrer'
    );
  });

  it('opens the notebook of a session alive, in this page', async () => {
    const wire = new Wire();
    wire.rest = () => [chat({ id: 'c1', project: { notebook: 'research/a/notebook.py' } })];
    const { client, store } = createClient(wire);
    const navigation = new Navigation();
    const page = createPagePlatform(
      { baseUrl: '/', version: '1' },
      client,
      store,
      new PageSettings(),
      navigation
    );
    await client.loadArchived();
    await vi.waitFor(() => expect(store.getState().sessions?.c1).toBeDefined());
    const opened = vi.spyOn(window, 'open').mockReturnValue(null);
    page.openNotebook?.('research/a/notebook.py', 'load');
    expect(navigation.get()).toEqual({ view: 'notebook', id: 'c1', cell: 'load' });
    page.openNotebook?.('other.py');
    expect(opened).not.toHaveBeenCalled();
    client.dispose();
  });

  it('copies without a clipboard, says when it could not, and gives the focus back', async () => {
    const before = document.body.appendChild(document.createElement('button'));
    before.focus();
    let copied = '';
    let works = true;
    document.execCommand = () => {
      copied = (document.activeElement as HTMLTextAreaElement).value;
      return works;
    };
    await platform(false).copy('a link');
    expect(copied).toBe('a link');
    expect(document.activeElement).toBe(before);
    works = false;
    await expect(platform(false).copy('x')).rejects.toThrow('did not let');
    expect(document.querySelector('textarea')).toBeNull();
  });
});

describe('the title of the tab', () => {
  const sessions = Object.fromEntries(
    [
      chat({ id: 'c1', title: 'Momentum\nand more', state: 'waiting', needs: 1 }),
      chat({ id: 'c2', title: '' })
    ].map(one => [one.id, one])
  );
  const state = { ...EMPTY_STATE, sessions };

  it('names the view and how many wait for the user', () => {
    expect(titleOf({ view: 'sessions' }, EMPTY_STATE, english)).toBe('Research · Postdoc');
    expect(titleOf({ view: 'session', id: 'c1' }, state, english)).toBe('(1) Momentum · Postdoc');
    expect(titleOf({ view: 'session', id: 'c2' }, state, english)).toBe('(1) Session · Postdoc');
    expect(titleOf({ view: 'session', id: 'nobody' }, EMPTY_STATE, english)).toBe('Session · Postdoc');
    expect(titleOf({ view: 'new' }, state, english)).toBe('(1) New research · Postdoc');
    expect(titleOf({ view: 'rooms' }, EMPTY_STATE, english)).toBe('Rooms · Postdoc');
  });
});
