import { act, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import React from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import type { LiveNotebook } from '../../../client';
import { SessionPage } from '../../session/SessionPage';
import { ID } from '../../session/__tests__/bench';
import { AtDesk } from '../../sessions/__tests__/desk';
import { NotebookView } from '../NotebookView';
import type { NotebookRoom } from './room';
import { notebookRoom, PATH, READY } from './room';

const open: NotebookRoom[] = [];
afterEach(() => {
  vi.useRealTimers();
  open.splice(0).forEach(one => one.platform.client.dispose());
});

/** The newest one. */
const frame = () => [...document.querySelectorAll('iframe')].at(-1) as HTMLIFrameElement;
const bar = () => screen.getByRole('toolbar');
const button = (name: string) => screen.getByRole('button', { name });

/** The view of a notebook that is so on the server; `before` changes the server before it is asked. */
function view(live: Partial<LiveNotebook> = {}, before?: (at: NotebookRoom) => void, cell?: string) {
  const at = notebookRoom(live, { info: { project: { path: 'research/reversal', notebook: PATH } } });
  open.push(at);
  at.platform.openFile = path => void at.asked.push(['openFile', path]);
  before?.(at);
  render(
    <AtDesk at={at}>
      <div className="jp-Postdoc">
        <NotebookView session={ID} cell={cell} />
      </div>
    </AtDesk>
  );
  at.platform.client.start();
  return at;
}

/** The page says something, as our script in it does. */
function says(message: object, source: MessageEventSource | null = frame().contentWindow) {
  act(() => {
    window.dispatchEvent(new MessageEvent('message', { data: message, source, origin: 'null' }));
  });
}

describe('a live notebook', () => {
  it('is opened to watch, in a frame without any right in the page around it', async () => {
    const at = view({ running: true, kernel: 'busy' });
    expect(await screen.findByText('Starting the notebook…')).toBeTruthy();
    await waitFor(() => expect(frame()).toBeDefined());
    expect(at.calls).toEqual(['open watch']);
    expect(frame().src).toBe('http://localhost/postdoc/nt/t1/?file=notebook.py');
    expect(frame().getAttribute('sandbox')).toBe('allow-scripts allow-forms allow-modals allow-downloads');
    expect(frame().getAttribute('referrerpolicy')).toBe('no-referrer');
    expect(frame().title).toBe('Notebook “Momentum”');
    expect(within(bar()).getByText('The agent works · you watch')).toBeTruthy();
    expect(within(bar()).getByText('Kernel busy')).toBeTruthy();
    expect(within(bar()).getByText('Sandboxed')).toBeTruthy();
    expect(screen.getByText('Loading the notebook…')).toBeTruthy();
    says({ type: 'postdoc-notebook', event: 'loaded' });
    expect(screen.queryByText('Loading the notebook…')).toBeNull();
    await userEvent.click(button('Interrupt what runs'));
    expect(at.calls).toContain('interrupt');
    expect(
      (await axe.run(document.body, { iframes: false, rules: { region: { enabled: false } } })).violations
    ).toEqual([]);
  });

  it('is taken over and given back: the page is opened for editing, then to watch again', async () => {
    const at = view({ running: true });
    await userEvent.click(await screen.findByRole('button', { name: 'Take over' }));
    await waitFor(() => expect(at.calls).toEqual(['open watch', 'open edit']));
    expect(at.told.map(one => one.type)).toEqual(['notebook.take']);
    await waitFor(() => expect(frame().src).toContain('/t2/'));
    expect(document.querySelectorAll('iframe')).toHaveLength(2); // the old one is seen until the new one is there
    expect(document.querySelector('.jp-mod-leaving')?.hasAttribute('inert')).toBe(true);
    says({ type: 'postdoc-notebook', event: 'loaded' });
    expect(document.querySelectorAll('iframe')).toHaveLength(1);
    expect(frame().title).toBe('Notebook “Momentum”, for editing');
    expect(within(bar()).getByText('You edit')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Take over' })).toBeNull();
    await userEvent.click(button('Give back'));
    await waitFor(() => expect(at.calls).toEqual(['open watch', 'open edit', 'open watch']));
    expect(await screen.findByText('The agent works · you watch')).toBeTruthy();
    await waitFor(() => expect(document.querySelectorAll('iframe')).toHaveLength(2)); // nothing white between them
    says({ type: 'postdoc-notebook', event: 'loaded' });
    expect(document.querySelectorAll('iframe')).toHaveLength(1);
  });

  it('begins where the page before it was', async () => {
    view();
    await waitFor(() => expect(frame()).toBeDefined());
    expect(frame().name).toBe('postdoc-light');
    const place = (where: string) => says({ type: 'postdoc-notebook', event: 'place', place: where });
    place('12 Hbol');
    place('-340 MJUe');
    place('1 <script>');
    await userEvent.click(button('Take over'));
    await waitFor(() => expect(frame().src).toContain('/t2/'));
    expect(frame().name).toBe('postdoc-light -340 MJUe');
  });

  it('says that its connection is lost, when that takes a while', async () => {
    view();
    await waitFor(() => expect(frame()).toBeDefined());
    vi.useFakeTimers();
    const tells = (event: string) => says({ type: 'postdoc-notebook', event });
    tells('loaded');
    tells('lost');
    act(() => vi.advanceTimersByTime(500));
    tells('connected');
    act(() => vi.advanceTimersByTime(500));
    expect(screen.queryByText('Connecting to the notebook again…')).toBeNull();
    tells('lost');
    act(() => vi.advanceTimersByTime(1000));
    expect(screen.getByText('Connecting to the notebook again…')).toBeTruthy();
    tells('connected');
    expect(screen.queryByText('Connecting to the notebook again…')).toBeNull();
  });

  it('is opened anew when the editor has sent it away and is there', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    says({ type: 'postdoc-notebook', event: 'closed' });
    await waitFor(() => expect(at.calls).toEqual(['open watch', 'open watch']));
    await waitFor(() => expect(frame().src).toContain('/t2/'));
    says({ type: 'postdoc-notebook', event: 'stopped' });
    await new Promise(resolve => setTimeout(resolve, 20));
    expect(at.calls).toHaveLength(2);
  });

  it('says that its editor is started again, then what was lost, until that was read', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    at.live = { ...READY, state: 'starting', kernel: 'none', message: 'The notebook is started again.' };
    const tell = ({ state, message }: LiveNotebook) =>
      act(() => at.event({ type: 'notebook', state, hand: 'agent', holder: '', message, path: PATH }));
    tell(at.live);
    expect(await screen.findByText('The notebook is being started again…')).toBeTruthy();
    const lost = 'The notebook’s process ended and was started again; its variables are lost.';
    at.live = { ...READY, message: lost, outputsFrom: Date.UTC(2026, 0, 2) / 1000 };
    tell(at.live);
    expect(await screen.findByText(/its variables are lost\. The outputs are from .*2026/)).toBeTruthy();
    expect(screen.queryByText('The notebook is being started again…')).toBeNull();
    await userEvent.click(button('Dismiss'));
    expect(screen.queryByText(/its variables are lost/)).toBeNull();
  });

  it('follows the hand when somebody else changes it', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    act(() => at.hand('Bo'));
    expect(await screen.findByText('Bo edits · you watch')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Take over' })).toBeNull();
    expect(at.calls).toEqual(['open watch']);
    act(() => at.hand('Ana', true)); // taken in another window
    await waitFor(() => expect(at.calls).toEqual(['open watch', 'open edit']));
  });

  it('is opened to watch when it went into another hand a moment ago', async () => {
    const at = view({ hand: 'person', holder: 'Ana', mine: true }, ({ refusals }) =>
      refusals.push({ code: 'busy', error: 'The notebook is in the agent’s hands.', status: 409 })
    );
    await waitFor(() => expect(at.calls.slice(0, 2)).toEqual(['open edit', 'open watch']));
  });

  it('says why it could not be started, and tries again', async () => {
    const at = view({ state: 'stopped' }, ({ refusals }) =>
      refusals.push({
        code: 'sandbox_missing',
        error: 'There is no sandbox.',
        next: 'Install bwrap.',
        status: 503
      })
    );
    expect(await screen.findByText('There is no sandbox.')).toBeTruthy();
    expect(screen.getByRole('alert').textContent).toContain('Install bwrap.');
    await userEvent.click(button('Open the file'));
    expect(at.asked).toEqual([['openFile', PATH]]);
    at.live = READY;
    await userEvent.click(button('Retry'));
    await waitFor(() => expect(frame()).toBeDefined());
  });

  it('says that there is none yet, and is there when the agent has made it', async () => {
    const at = view({ state: 'stopped' }, ({ refusals }) =>
      refusals.push({ code: 'not_found', error: 'No notebook.', status: 404 })
    );
    expect(await screen.findByText('There is no notebook yet.')).toBeTruthy();
    at.live = READY;
    act(() => at.event({ type: 'artifact', artifact: 'notebook', path: PATH }));
    await waitFor(() => expect(frame()).toBeDefined());
  });

  it('says that it stopped, and why; it is started again when it is asked for', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    at.live = { ...READY, state: 'stopped', message: 'Nobody looked at it for 30 minutes.' };
    says({ type: 'postdoc-notebook', event: 'stopped' });
    expect(await screen.findByText('The notebook is not running.')).toBeTruthy();
    expect(screen.getByText(/Nobody looked at it for 30 minutes/)).toBeTruthy();
    expect(at.calls).toEqual(['open watch']);
    at.live = READY;
    await userEvent.click(button('Start it again'));
    await waitFor(() => expect(at.calls).toEqual(['open watch', 'open watch']));
  });

  it('gets a new address when the old one holds no longer, but not as often as the page likes', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    says({ type: 'postdoc-notebook', event: 'expired' });
    await waitFor(() => expect(at.calls).toHaveLength(2));
    await waitFor(() => expect(frame().src).toContain('/t2/'));
    says({ type: 'postdoc-notebook', event: 'expired' });
    says({ type: 'postdoc-notebook', event: 'expired' });
    await new Promise(resolve => setTimeout(resolve, 20));
    expect(at.calls).toHaveLength(2);
  });

  it('gets a new address after a restart of the server', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    vi.spyOn(globalThis, 'fetch').mockResolvedValue(new Response('', { status: 403 }));
    act(() => at.office.last.end());
    await waitFor(() => expect(at.platform.store.getState().connection.state).not.toBe('connected'));
    act(() => at.platform.client.retryNow());
    await waitFor(() => expect(at.calls).toEqual(['open watch', 'open watch']));
    expect(vi.mocked(fetch).mock.calls[0]?.[0]).toEqual(new URL('http://localhost/postdoc/nt/t1/health'));
  });

  it('opens an address for the page only when the person says so, and only one of the web', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    const opened = vi.spyOn(window, 'open').mockReturnValue(null);
    const ask = (url: string) => says({ type: 'postdoc-notebook', event: 'open', url });
    ask('javascript:alert(1)');
    says({ type: 'postdoc-notebook', event: 'open', url: 'https://evil.example/' }, window);
    expect(at.questions).toHaveLength(0);
    at.answer.yes = false;
    ask('https://example.org/?secret');
    await waitFor(() => expect(at.questions).toHaveLength(1));
    expect(at.questions[0]?.body).toContain('https://example.org/?secret');
    expect(opened).not.toHaveBeenCalled();
    at.answer.yes = true;
    ask('https://example.org/a');
    await waitFor(() =>
      expect(opened).toHaveBeenCalledWith('https://example.org/a', '_blank', 'noopener,noreferrer')
    );
  });

  it('tells of a kernel that has ended, and restarts it', async () => {
    const at = view({ kernel: 'dead', message: 'The kernel was killed: out of memory.' });
    expect(await screen.findByText(/out of memory/)).toBeTruthy();
    await userEvent.click(button('Restart the kernel'));
    expect(at.calls).toContain('restart kernel');
    expect(at.calls.filter(call => call.startsWith('open'))).toHaveLength(1);
  });

  it('says what is not as it should be: old outputs, no sandbox, an agent beside it', async () => {
    view({
      state: 'following',
      running: true,
      sandboxed: false,
      outputsFrom: Date.UTC(2026, 0, 2) / 1000,
      sandbox: { available: false, why: 'bwrap is not installed.', next: 'Install bubblewrap.' }
    });
    const word = await screen.findByText('No sandbox');
    expect(word.parentElement?.title).toContain('Install bubblewrap.');
    expect(screen.getByText(/The outputs are from .*2026/)).toBeTruthy();
    expect(screen.getByText(/this page follows it/)).toBeTruthy();
    await userEvent.click(button('Dismiss'));
    expect(screen.queryByText(/The outputs are from/)).toBeNull();
  });

  it('asks before variables are lost, and tells what the server refuses', async () => {
    const at = view();
    await waitFor(() => expect(frame()).toBeDefined());
    const choose = async (name: string) => {
      await userEvent.click(button('More about the notebook'));
      await userEvent.click(screen.getByRole('menuitem', { name }));
    };
    at.answer.yes = false;
    await choose('Restart the editor…');
    expect(at.calls).toEqual(['open watch']);
    at.answer.yes = true;
    at.refusals.push({ code: 'busy', error: 'The agent works with this notebook now.', status: 409 });
    await choose('Restart the editor…');
    expect((await screen.findByRole('alert')).textContent).toContain(
      'The agent works with this notebook now.'
    );
    await userEvent.click(button('Dismiss'));
    await choose('Stop the notebook…');
    expect(await screen.findByText('The notebook is not running.')).toBeTruthy();
    expect(at.calls).toEqual(['open watch', 'restart editor', 'close']);
  });

  it('begins at the cell that was asked for', async () => {
    view({}, undefined, 'backtest');
    await waitFor(() => expect(frame()).toBeDefined());
    const told = vi.spyOn(frame().contentWindow as Window, 'postMessage');
    vi.useFakeTimers();
    fireEvent.load(frame()); // of the page around the notebook, which has still to be loaded
    expect(screen.getByText('Loading the notebook…')).toBeTruthy();
    expect(told).not.toHaveBeenCalledWith({ type: 'postdoc:cell', name: 'backtest' }, '*');
    act(() => vi.advanceTimersByTime(15_000));
    expect(screen.queryByText('Loading the notebook…')).toBeNull();
    expect(told).toHaveBeenCalledWith({ type: 'postdoc:cell', name: 'backtest' }, '*');
  });
});

describe('the session of a notebook', () => {
  async function session(options: Parameters<typeof notebookRoom>[1] = {}) {
    const at = notebookRoom(
      {},
      { log: [{ type: 'user_message', id: 'm0', content: 'Go', by: 'ana' }], ...options }
    );
    open.push(at);
    render(
      <AtDesk at={at}>
        <SessionPage id={ID} />
      </AtDesk>
    );
    at.platform.client.start();
    await screen.findByRole('heading', { level: 2 });
    return at;
  }

  it('says who has it, that the agent waits for it, and gives it back', async () => {
    const at = await session({ state: 'running' });
    expect(screen.queryByText(/the notebook/)).toBeNull();
    act(() => at.hand('Ana', true));
    expect(await screen.findByText(/You have the notebook/)).toBeTruthy();
    expect(screen.getByText('You took the notebook over.')).toBeTruthy();
    act(() => at.state('waiting', 'taken_over'));
    expect(await screen.findByText('The agent waits for the notebook: you have it.')).toBeTruthy();
    expect(screen.getAllByText('Waits for the notebook').length).toBeGreaterThan(0);
    expect(screen.queryByText('Needs your answer')).toBeNull();
    await userEvent.click(button('Open it'));
    expect(at.asked).toEqual([['openNotebook', PATH]]);
    await userEvent.click(button('Give back'));
    await waitFor(() => expect(screen.queryByRole('button', { name: 'Give back' })).toBeNull());
    expect(screen.getByText('You gave the notebook back.')).toBeTruthy();
    expect(at.told.map(one => one.type)).toEqual(['notebook.give']);
  });

  it('says what has happened to its processes, until that was read or is over', async () => {
    const at = await session();
    const say = (state: string, message: string) =>
      act(() => at.event({ type: 'notebook', state, hand: 'agent', holder: '', message, path: PATH }));
    say('ready', 'The Python process ended. Its variables are lost.');
    expect(await screen.findByText(/Its variables are lost/)).toBeTruthy();
    say('ready', '');
    await waitFor(() => expect(screen.queryByText(/Its variables are lost/)).toBeNull());
    say('failed', 'The process ended again.');
    expect(await screen.findByText('The process ended again.')).toBeTruthy();
    await userEvent.click(button('Dismiss'));
    expect(screen.queryByText('The process ended again.')).toBeNull();
    say('starting', 'The notebook is being started.');
    await new Promise(resolve => setTimeout(resolve, 50)); // it takes longer
    say('failed', 'The process ended again.');
    expect(await screen.findByText('The process ended again.')).toBeTruthy();
  });

  it('names another person who has it, and offers nothing', async () => {
    const at = await session();
    act(() => at.hand('Bo'));
    expect(await screen.findByText(/Bo has the notebook/)).toBeTruthy();
    expect(screen.getByText('Bo took the notebook over.')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Give back' })).toBeNull();
  });
});
