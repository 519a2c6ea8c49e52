import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Platform } from '../../../platform';
import { AtDesk, chat, desk } from '../../sessions/__tests__/desk';
import type { Desk } from '../../sessions/__tests__/desk';
import { App } from '../../App';
import { ErrorBoundary } from '../ErrorBoundary';

let open: Desk[] = [];

async function show(made: Desk = desk([chat({ id: 'a', title: 'Alpha' })]), wide = false): Promise<Desk> {
  open.push(made);
  render(<App platform={made.platform} navigation={made.navigation} wide={wide} />);
  await act(async () => made.platform.client.start());
  await screen.findByText('Connected');
  return made;
}

async function accessible(): Promise<void> {
  const { violations } = await axe.run(document.body, { rules: { 'color-contrast': { enabled: false } } });
  expect(violations.map(one => `${one.id}: ${one.nodes.map(node => node.html).join(' ')}`)).toEqual([]);
}

afterEach(() => {
  open.forEach(one => one.platform.client.dispose());
  open = [];
});

describe('the frame', () => {
  it('goes to each view and back; the focus goes along', async () => {
    const user = userEvent.setup();
    const { navigation } = await show();
    await screen.findByRole('listbox');
    await accessible();
    expect(screen.queryByRole('button', { name: /Back/ })).toBeNull();

    await user.click(screen.getByRole('button', { name: 'New research' }));
    expect(navigation.get().view).toBe('new');
    expect(document.activeElement?.tagName).toBe('TEXTAREA');
    await accessible();

    await user.click(screen.getByRole('button', { name: 'Back to all sessions' }));
    expect(document.activeElement).toBe(screen.getByRole('listbox'));

    await user.click(screen.getByRole('button', { name: 'Rooms' }));
    expect(screen.getByRole('button', { name: 'Rooms' }).getAttribute('aria-pressed')).toBe('true');
    expect(screen.getByRole('region', { name: 'Rooms' }).contains(document.activeElement)).toBe(true);
    await accessible();
    await user.click(screen.getByRole('button', { name: 'Rooms' }));
    expect(navigation.get()).toEqual({ view: 'sessions' });
  });

  it('opens a session from the list, and comes back to its row', async () => {
    const user = userEvent.setup();
    const made = desk([chat({ id: 'a', title: 'Alpha' }), chat({ id: 'b', title: 'Beta' })]);
    made.office.log('b');
    const { navigation } = await show(made);
    act(() => screen.getByRole('listbox').focus());
    await user.keyboard('{ArrowDown}{Enter}');
    await screen.findByRole('heading', { name: 'Beta' });
    expect(navigation.get()).toEqual({ view: 'session', id: 'b' });
    await user.click(screen.getByRole('button', { name: 'Back to all sessions' }));
    expect(document.activeElement).toBe(screen.getByRole('listbox'));
  });

  it('takes the focus from nobody when it is steered from elsewhere', async () => {
    const { navigation } = await show();
    const cell = document.body.appendChild(document.createElement('textarea'));
    cell.focus();
    act(() => navigation.go({ view: 'rooms' }));
    await screen.findByRole('region', { name: 'Rooms' });
    expect(document.activeElement).toBe(cell);
    cell.remove();
  });

  it('offers in its menu what the platform can do', async () => {
    const user = userEvent.setup();
    const made = desk([chat({ id: 'a' })]);
    await show(made);
    const items = async () => {
      await user.click(screen.getByRole('button', { name: 'More' }));
      return screen.getAllByRole('menuitem').map(one => one.textContent);
    };
    expect(await items()).toEqual(['GitHub…', 'Settings', 'Help']);
    await user.click(screen.getByRole('menuitem', { name: 'Settings' }));
    act(() => made.navigation.go({ view: 'session', id: 'a' }));
    expect(await items()).toEqual(['Open in tab', 'GitHub…', 'Settings', 'Help']);
    await user.click(screen.getByRole('menuitem', { name: 'Open in tab' }));
    expect(made.asked).toEqual([['openSettings'], ['openSession', 'a']]);
  });

  it('helps in a few words; Esc gives the focus back', async () => {
    const user = userEvent.setup();
    const made = desk();
    made.platform = { ...made.platform, openSettings: undefined } as Platform;
    await show(made);
    const more = screen.getByRole('button', { name: 'More' });
    await user.click(more);
    await user.click(screen.getByRole('menuitem', { name: 'Help' }));
    const help = screen.getByRole('dialog', { name: 'How it works' });
    expect(help.contains(document.activeElement)).toBe(true);
    await accessible();
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('dialog')).toBeNull();
    expect(document.activeElement).toBe(more);
  });

  it('has list and view side by side where there is room', async () => {
    const user = userEvent.setup();
    const made = desk([chat({ id: 'a', title: 'Alpha' })]);
    made.office.log('a');
    const { navigation } = await show(made, true);
    await screen.findByText('Choose a session');
    await accessible();
    await user.click(screen.getByRole('option'));
    await screen.findByRole('heading', { name: 'Alpha' });
    const side = screen.getByRole('region', { name: 'Sessions' });
    expect(within(side).getByRole('option', { selected: true }).dataset.id).toBe('a');
    expect(screen.queryByRole('button', { name: /Back/ })).toBeNull();
    expect(navigation.get()).toEqual({ view: 'session', id: 'a' });
  });

  it('counts the open session as seen', async () => {
    const info = chat({ id: 'a', title: 'Alpha', state: 'running' });
    const made = desk([info]);
    await show(made, true);
    const later = {
      ...info,
      state: 'finished',
      lastSeq: 50,
      updatedAt: new Date(Date.now() + 1000).toISOString()
    };
    act(() => made.navigation.go({ view: 'session', id: 'a' }));
    act(() => made.office.tell(later));
    await waitFor(() => expect(screen.getByRole('option').textContent).toContain('Finished'));
    act(() => made.navigation.go({ view: 'sessions' }));
    expect(screen.queryByText('Finished since you last looked')).toBeNull();
    act(() => made.office.tell({ ...later, lastSeq: 60, version: 9 }));
    await screen.findByText('Finished since you last looked');
  });
});

describe('a view that fails', () => {
  it('says so, gives the details, and is shown again', async () => {
    const user = userEvent.setup();
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    const made = desk();
    let broken = true;
    const Fragile = () => {
      if (broken) {
        throw new TypeError('no such cell');
      }
      return <p>whole</p>;
    };
    render(
      <AtDesk at={made}>
        <ErrorBoundary at="x">
          <Fragile />
        </ErrorBoundary>
      </AtDesk>
    );
    expect(screen.getByRole('alert').textContent).toContain('This view could not be shown.');
    await user.click(screen.getByRole('button', { name: 'Copy details' }));
    expect(made.asked[0]?.[1]).toContain('TypeError: no such cell');
    await user.click(screen.getByRole('button', { name: 'Show again' }));
    expect(screen.getByRole('alert')).toBeTruthy();
    broken = false;
    await user.click(screen.getByRole('button', { name: 'Show again' }));
    expect(screen.getByText('whole')).toBeTruthy();
  });
});

describe('the banner', () => {
  beforeEach(
    () =>
      void vi.useFakeTimers({
        toFake: [
          'setTimeout',
          'clearTimeout',
          'setInterval',
          'clearInterval',
          'Date',
          'requestAnimationFrame',
          'cancelAnimationFrame'
        ]
      })
  );
  afterEach(() => void vi.useRealTimers());

  const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));
  const banner = () => document.querySelector('.jp-Postdoc-Banner')?.textContent ?? null;

  async function connected(): Promise<Desk> {
    const made = desk([chat({ id: 'a', title: 'Alpha' })]);
    open.push(made);
    made.office.log('a');
    made.office.happen({ type: 'agent_status', message: 'one' }, 'a');
    render(<App platform={made.platform} navigation={made.navigation} />);
    act(() => made.platform.client.start());
    await pass(50);
    expect(screen.getByText('Connected')).toBeTruthy();
    return made;
  }

  it('waits two seconds, counts down, and tries now when told to', async () => {
    const { office } = await connected();
    office.refuse = 0;
    act(() => office.last.end());
    await pass(1900);
    expect(screen.getByText('Reconnecting…')).toBeTruthy();
    expect(banner()).toBeNull();
    await pass(5000);
    expect(banner()).toMatch(
      /^Connection lost\. The agent keeps working on the server\. Reconnecting in \d s\.Now$/
    );
    const seconds = () => Number(/in (\d+) s/.exec(banner() ?? '')?.[1]);
    // How long it waits is random: not in the last second before it tries again.
    let before = seconds();
    for (let i = 0; i < 100 && !(before >= 2); i++) {
      await pass(250);
      before = seconds();
    }
    await pass(1000);
    expect(seconds()).toBe(before - 1);
    office.refuse = null;
    act(() => screen.getByRole('button', { name: 'Now' }).click());
    await pass(50);
    expect(banner()).toBeNull();
    expect(screen.getByText('Connected')).toBeTruthy();
  });

  it('is not there for an interruption of a second', async () => {
    const { office } = await connected();
    act(() => office.last.end());
    const seen: (string | null)[] = [];
    for (let i = 0; i < 30; i++) {
      await pass(100);
      seen.push(banner());
    }
    expect(seen.every(text => text === null)).toBe(true);
    expect(screen.getByText('Connected')).toBeTruthy();
  });

  it('says for four seconds what was missed', async () => {
    const { office, navigation } = await connected();
    act(() => navigation.go({ view: 'session', id: 'a' }));
    await pass(50);
    office.refuse = 0;
    act(() => office.last.end());
    for (let i = 0; i < 3; i++) {
      office.happen({ type: 'agent_status', message: `missed ${i}` }, 'a');
    }
    await pass(3000);
    office.refuse = null;
    act(() => screen.getByRole('button', { name: 'Now' }).click());
    await pass(100);
    expect(banner()).toBe('Caught up: 3 events.');
    await pass(3500);
    expect(banner()).toBe('Caught up: 3 events.');
    await pass(600);
    expect(banner()).toBeNull();
  });

  it('asks to reload when the login expired, at once', async () => {
    const { office } = await connected();
    office.refuse = 403;
    act(() => office.last.end(4403));
    await pass(50);
    expect(screen.getByRole('alert').textContent).toContain('Your Jupyter login expired. Reload the page.');
    expect(screen.getByText('Offline')).toBeTruthy();
  });

  it('says the same thing once: without a list, the list says it', async () => {
    const made = desk();
    open.push(made);
    made.office.refuse = 404;
    render(<App platform={made.platform} navigation={made.navigation} />);
    act(() => made.platform.client.start());
    await pass(3000);
    expect(screen.getAllByText(/The server part of this extension is not enabled/)).toHaveLength(1);
    act(() => made.navigation.go({ view: 'session', id: 'a' }));
    await pass(50);
    expect(banner()).toContain('The server part of this extension is not enabled.');
  });
});
