import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { ChatInfo } from '../../../model';
import { SessionsView } from '../SessionsView';
import { seenOf } from '../seen';
import { AtDesk, NO_KEY, chat, desk } from './desk';
import type { Desk } from './desk';

let open: Desk[] = [];

/** The list of these sessions, once it is there. */
async function show(chats: readonly ChatInfo[], change: (desk: Desk) => void = () => undefined) {
  const made = desk(chats);
  open.push(made);
  change(made);
  render(
    <AtDesk at={made}>
      <SessionsView />
    </AtDesk>
  );
  act(() => made.platform.client.start());
  if (chats.length > 0) {
    await screen.findByRole('listbox');
  }
  return made;
}

const titles = () =>
  screen.getAllByRole('option').map(one => one.querySelector('.jp-Postdoc-Row-title')?.textContent);
const active = () => {
  const list = screen.getByRole('listbox');
  return document.getElementById(list.getAttribute('aria-activedescendant') ?? '')?.dataset.id;
};

async function accessible(): Promise<void> {
  // Colours and layout are for a real browser.
  const { violations } = await axe.run(document.body, {
    rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
  });
  expect(violations.map(one => `${one.id}: ${one.nodes.map(node => node.html).join(' ')}`)).toEqual([]);
}

const three = () => [
  chat({ id: 'a', title: 'Alpha', state: 'running', line: 'Running cell 4 of 9' }),
  chat({ id: 'b', title: 'Beta', line: 'Supported', cost: 0.84, template: 'forecast' }),
  chat({ id: 'c', title: 'Gamma', state: 'error', line: 'No dates' })
];

afterEach(() => {
  open.forEach(one => one.platform.client.dispose());
  open = [];
});

describe('the list', () => {
  it('shows state and line, template, model and cost; accessible', async () => {
    await show([chat({ id: 'n', title: 'Needy', needs: 1, state: 'waiting' }), ...three()]);
    await screen.findByText('Forecast');
    expect(screen.getByRole('group', { name: 'Needs you' }).textContent).toContain('Needs your answer');
    const rows = screen.getAllByRole('option').map(one => one.textContent);
    expect(rows[1]).toContain('Running: Running cell 4 of 9');
    expect(rows[2]).toContain('Finished · Supported');
    expect(rows[2]).toContain('no AI model');
    expect(rows[2]).toContain('$0.84');
    expect(rows[3]).toContain('Failed · No dates');
    await accessible();
  });

  it('is one tab stop; arrows, Home and End move, Enter opens', async () => {
    const user = userEvent.setup();
    const { navigation } = await show(three());
    act(() => screen.getByRole('listbox').focus());
    expect(active()).toBe('a');
    await user.keyboard('{ArrowDown}{ArrowDown}{ArrowDown}');
    expect(active()).toBe('c');
    await user.keyboard('{ArrowUp}');
    expect(active()).toBe('b');
    await user.keyboard('{End}');
    expect(active()).toBe('c');
    await user.keyboard('{Home}{ArrowDown}{Enter}');
    expect(navigation.get()).toEqual({ view: 'session', id: 'b' });
    expect(screen.getByRole('option', { selected: true }).dataset.id).toBe('b');
  });

  it('leaves Alt with arrows to others', async () => {
    const user = userEvent.setup();
    await show(three());
    act(() => screen.getByRole('listbox').focus());
    await user.keyboard('{Alt>}{ArrowDown}{/Alt}');
    expect(active()).toBe('a');
  });

  it('renames with F2: Enter takes the title, Esc does not; the focus comes back', async () => {
    const user = userEvent.setup();
    const { office } = await show(three());
    const list = screen.getByRole('listbox');
    act(() => list.focus());
    await user.keyboard('{F2}');
    await user.keyboard('Other{Escape}');
    expect(document.activeElement).toBe(list);
    expect(office.commands).toEqual([]);
    await user.keyboard('{F2}');
    expect(document.activeElement).toHaveProperty('value', 'Alpha');
    await accessible();
    await user.keyboard('Omega{Enter}');
    await screen.findByText('Omega');
    expect(office.commands).toMatchObject([{ type: 'session.set', chatId: 'a', title: 'Omega' }]);
    expect(document.activeElement).toBe(list);
  });

  it('a session that goes away while it is renamed leaves no field over another one', async () => {
    const user = userEvent.setup();
    const { office } = await show(three());
    act(() => screen.getByRole('listbox').focus());
    await user.keyboard('{F2}Half a na');
    act(() => office.last.give({ type: 'session', v: 1, ts: '', chatId: 'a', deleted: true }));
    await waitFor(() => expect(titles()).toEqual(['Beta', 'Gamma']));
    expect(screen.queryByLabelText('New title')).toBeNull();
    expect(document.activeElement).toBe(screen.getByRole('listbox'));
    expect(office.commands).toEqual([]);
  });

  it('leaving the field keeps the new title, an empty one changes nothing', async () => {
    const user = userEvent.setup();
    const { office } = await show(three());
    act(() => screen.getByRole('listbox').focus());
    await user.keyboard('{F2}{Delete}{Enter}');
    await user.keyboard('{F2}Kept');
    await user.click(screen.getByRole('textbox', { name: /filter/i }));
    await screen.findByText('Kept');
    expect(office.commands).toHaveLength(1);
    expect(document.activeElement).toBe(screen.getByRole('textbox', { name: /filter/i }));
  });

  it('asks before it deletes; the keyboard stays in its place', async () => {
    const user = userEvent.setup();
    const { office, questions, answer } = await show(three());
    answer.yes = false;
    act(() => screen.getByRole('listbox').focus());
    await user.keyboard('{ArrowDown}{Delete}');
    expect(questions).toMatchObject([{ title: 'Delete “Beta”?', accept: 'Delete', dangerous: true }]);
    expect(office.chats.has('b')).toBe(true);
    answer.yes = true;
    await user.keyboard('{Delete}');
    await waitFor(() => expect(titles()).toEqual(['Alpha', 'Gamma']));
    expect(active()).toBe('c');
    expect(document.activeElement).toBe(screen.getByRole('listbox'));
  });

  it('says why something could not be done', async () => {
    const user = userEvent.setup();
    const { office } = await show(three());
    office.chats.delete('a');
    act(() => screen.getByRole('listbox').focus());
    await user.keyboard('{Delete}');
    expect((await screen.findByRole('alert')).textContent).toContain('No.');
    await user.click(screen.getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('has a menu for the row: what does not exist is not in it, and Esc goes back to the list', async () => {
    const user = userEvent.setup();
    const project = { path: 'research/b', notebook: 'research/b/notebook.py', report: 'research/b/r.html' };
    const { asked, navigation } = await show([
      chat({ id: 'a', title: 'Alpha' }),
      chat({ id: 'b', title: 'Beta', project, template: 'forecast' })
    ]);
    const list = screen.getByRole('listbox');
    act(() => list.focus());
    await user.keyboard('{Shift>}{F10}{/Shift}');
    const items = () => screen.getAllByRole('menuitem').map(one => one.textContent);
    expect(items()).toEqual(['Duplicate as new', 'Rename', 'Archive', 'Delete…']);
    await accessible();
    await user.keyboard('{Escape}');
    expect(document.activeElement).toBe(list);

    await user.keyboard('{ArrowDown}{Tab}{Enter}');
    expect(items().slice(0, 3)).toEqual(['Open notebook', 'Open report', 'Open folder']);
    await user.keyboard('{Enter}');
    await user.click(screen.getByRole('button', { name: 'Actions for “Beta”' }));
    await user.click(screen.getByRole('menuitem', { name: 'Open report' }));
    await user.click(screen.getByRole('button', { name: 'Actions for “Beta”' }));
    await user.click(screen.getByRole('menuitem', { name: 'Open folder' }));
    expect(asked).toEqual([
      ['openNotebook', 'research/b/notebook.py'],
      ['openReport', 'b', 'Beta'],
      ['openFolder', 'research/b']
    ]);
    await user.click(screen.getByRole('button', { name: 'Actions for “Beta”' }));
    await user.click(screen.getByRole('menuitem', { name: 'Duplicate as new' }));
    expect(navigation.get()).toMatchObject({ view: 'new', topic: 'Beta', template: 'forecast' });
  });

  it('follows what changes: a row comes to rest, and is unread until it is looked at', async () => {
    const { office, platform } = await show(three());
    const before = office.chats.get('a') as ChatInfo;
    const updatedAt = new Date(Date.now() + 1000).toISOString();
    act(() => office.tell({ ...before, state: 'finished', line: 'Supported', lastSeq: 40, updatedAt }));
    await screen.findByText('Finished since you last looked');
    expect(screen.queryByRole('group', { name: 'Active' })).toBeNull();
    act(() => seenOf(platform.memory).mark('a', 40));
    expect(screen.queryByText('Finished since you last looked')).toBeNull();
  });

  it('filters by words and by state', async () => {
    const user = userEvent.setup();
    await show([...three(), chat({ id: 'room:x', kind: 'room', title: 'A room' })]);
    expect(titles()).toEqual(['Alpha', 'Beta', 'Gamma']);
    await user.type(screen.getByRole('textbox'), 'forecast');
    expect(titles()).toEqual(['Beta']);
    await user.type(screen.getByRole('textbox'), ' nothing');
    await screen.findByText('No session matches.');
    await user.keyboard('{Escape}');
    await user.click(screen.getByRole('button', { name: 'Not finished 1' }));
    expect(titles()).toEqual(['Gamma']);
    await user.click(screen.getByRole('button', { name: 'All' }));
    expect(titles()).toHaveLength(3);
  });

  it('loads archived sessions when they are asked for, and brings one back', async () => {
    const user = userEvent.setup();
    const { office } = await show([...three(), chat({ id: 'o', title: 'Old', archived: true })]);
    expect(office.requests.some(one => one.path.includes('archived=true'))).toBe(false);
    expect(screen.queryByText('Old')).toBeNull();
    await user.click(screen.getByRole('button', { name: 'Archived' }));
    const list = await screen.findByRole('listbox', { name: 'Archived sessions' });
    expect(within(list).getByText('Old')).toBeTruthy();
    await accessible();
    await user.click(screen.getByRole('button', { name: 'Actions for “Old”' }));
    await user.click(screen.getByRole('menuitem', { name: 'Unarchive' }));
    await waitFor(() => expect(screen.queryByRole('listbox', { name: 'Archived sessions' })).toBeNull());
    expect(titles()).toContain('Old');
  });

  it('shows what an agent called it as text', async () => {
    await show([chat({ title: '<img src=x onerror="alert(1)">', line: '<b>bold</b>' })]);
    expect(screen.getByRole('option').querySelector('img, b')).toBeNull();
  });
});

describe('without rows', () => {
  beforeEach(() => void vi.useFakeTimers({ shouldAdvanceTime: true }));
  afterEach(() => void vi.useRealTimers());

  it('begins with a question or one of three templates', async () => {
    const { navigation } = await show([]);
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime });
    await screen.findByText('No research yet.');
    screen.getByText(
      'Describe a question; the agent writes a marimo notebook and, if you want, a GitHub repository.'
    );
    const cards = await screen.findAllByRole('listitem');
    expect(cards).toHaveLength(3);
    expect(cards[2]?.textContent).toBe('ForecastCan this series be forecast better than by simple rules?');
    await accessible();
    await user.click(screen.getByRole('button', { name: /^Forecast/ }));
    expect(navigation.get()).toMatchObject({ view: 'new', template: 'forecast' });
    const { key } = navigation.get() as { key?: string };
    await user.click(screen.getByRole('button', { name: 'New research' }));
    expect(navigation.get()).toMatchObject({ view: 'new' });
    expect(navigation.get()).not.toMatchObject({ key });
  });

  it('says once that there is no key, and how to get one', async () => {
    const { kept, navigation } = await show([], made => (made.office.models = NO_KEY));
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime });
    const card = await screen.findByRole('note');
    expect(card.textContent).toContain('No model key found.');
    expect(card.textContent).toContain(
      'Set ANTHROPIC_API_KEY for the Jupyter server and restart it, or choose the demo agent.'
    );
    await user.click(screen.getByRole('button', { name: 'How to' }));
    expect(card.querySelector('a')?.rel).toBe('noopener noreferrer');
    await accessible();
    await user.click(screen.getByRole('button', { name: 'Use demo agent' }));
    expect(navigation.get().view).toBe('new');
    expect(screen.queryByRole('note')).toBeNull();
    expect(kept.get('no-key-card')).toBe('dismissed');
  });

  it('says nothing of keys when there is one, or when it was dismissed', async () => {
    await show([], made => {
      made.office.models = NO_KEY;
      made.kept.set('no-key-card', 'dismissed');
    });
    await screen.findAllByRole('listitem');
    expect(screen.queryByRole('note')).toBeNull();
  });

  it('shows three rows without content after 300 ms, not before', async () => {
    const { office } = await show([], made => (made.office.dead = true));
    const rows = () => document.querySelectorAll('.jp-Postdoc-ListSkeleton-row').length;
    act(() => vi.advanceTimersByTime(250));
    expect(rows()).toBe(0);
    act(() => vi.advanceTimersByTime(100));
    expect(rows()).toBe(3);
    await accessible();
    expect(office.sockets).toHaveLength(1);
  });

  it('names the command when the server part is missing, and tries again', async () => {
    const { office, asked } = await show([], made => (made.office.refuse = 404));
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime });
    const text = await screen.findByText(/The server part of this extension is not enabled/);
    expect(text.textContent).toBe(
      'The server part of this extension is not enabled. Run jupyter server extension enable jupyterlab_postdoc.'
    );
    await accessible();
    await user.click(screen.getByRole('button', { name: 'Copy the command' }));
    expect(asked).toEqual([['copy', 'jupyter server extension enable jupyterlab_postdoc']]);
    office.refuse = null;
    await user.click(screen.getByRole('button', { name: 'Retry' }));
    await screen.findByText('No research yet.');
  });

  it('says that nobody answers, when it tries again, and lets one try now', async () => {
    const { office } = await show([], made => (made.office.refuse = 0));
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime });
    await screen.findByText('The server does not answer.');
    await act(() => vi.advanceTimersByTimeAsync(6000));
    await screen.findByText(/Reconnecting in \d+ s\./);
    await accessible();
    office.refuse = null;
    await user.click(screen.getByRole('button', { name: 'Now' }));
    await screen.findByText('No research yet.');
  });
});
