import { act, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import React from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { DEFAULT_SETTINGS } from '../../../platform';
import { AtDesk } from '../../sessions/__tests__/desk';
import { SessionPage } from '../SessionPage';
import type { Bench } from './bench';
import { bench, ID, KEYLESS, question } from './bench';

const open: Bench[] = [];
afterEach(() => {
  vi.useRealTimers();
  open.splice(0).forEach(one => one.platform.client.dispose());
});

/** The page of a session, opened and loaded. */
async function page(options: Parameters<typeof bench>[0] = {}, before?: (at: Bench) => void) {
  const at = bench(options);
  open.push(at);
  before?.(at);
  const shown = render(
    <AtDesk at={at}>
      <div className="jp-Postdoc">
        <SessionPage id={ID} />
      </div>
    </AtDesk>
  );
  at.platform.client.start();
  await screen.findByRole('heading', { level: 2 });
  await waitFor(() => expect(at.office.requests.length).toBeGreaterThan(1));
  return { at, ...shown };
}

const SAID = { type: 'user_message', id: 'm0', content: 'Hello', by: 'ana' };
const box = () => screen.getByRole('textbox', { name: 'Message' });

/** From here on the clock goes only when a test says so. */
const falseClock = () =>
  vi.useFakeTimers({
    toFake: ['setTimeout', 'clearTimeout', 'Date', 'requestAnimationFrame', 'cancelAnimationFrame']
  });

/** Let what was begun come about, while the clock is a false one. */
const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

describe('a session that is not there', () => {
  function opened(at: Bench) {
    open.push(at);
    return render(
      <AtDesk at={at}>
        <SessionPage id={ID} />
      </AtDesk>
    );
  }

  it('shows nothing for 300 ms, then that it loads', async () => {
    vi.useFakeTimers();
    const { container } = opened(bench());
    expect(container.querySelector('.jp-Postdoc-Skeleton')).toBeNull();
    await pass(310);
    expect(screen.getByRole('status').textContent).toBe('Loading the session…');
  });

  it('says that it was deleted, and leads back', async () => {
    const at = bench();
    at.office.logs.delete(ID);
    at.office.chats.clear();
    opened(at);
    const { answer } = at.office;
    at.office.answer = (socket, frame) =>
      frame.chatId === ID
        ? socket.give({ type: 'error', v: 1, ts: '', chatId: ID, code: 'not_found', error: 'None.' })
        : answer(socket, frame);
    at.platform.client.start();
    await screen.findByText('This session was deleted.');
    await userEvent.click(screen.getByRole('button', { name: 'All sessions' }));
    expect(at.navigation.get()).toEqual({ view: 'sessions' });
  });

  it('says why it could not be opened, and tries again', async () => {
    const at = bench();
    const { answer } = at.office;
    let refused = 0;
    at.office.answer = (socket, frame) => {
      if (frame.chatId === ID && frame.type === 'subscribe' && refused++ === 0) {
        const problem = { code: 'forbidden', error: 'It is not yours.', next: 'Ask its owner.' };
        socket.give({ type: 'error', v: 1, ts: '', chatId: ID, retryable: false, ...problem });
      } else {
        answer(socket, frame);
      }
    };
    opened(at);
    at.platform.client.start();
    await screen.findByText('It is not yours.');
    await userEvent.click(screen.getByRole('button', { name: 'Retry' }));
    expect((await screen.findByRole('heading', { level: 2 })).textContent).toBe('Momentum');
  });
});

describe('the head', () => {
  it('renames with F2; Escape leaves the name, leaving the field keeps it', async () => {
    const { at } = await page({ log: [SAID] });
    const user = userEvent.setup();
    const heading = () => screen.getByRole('heading', { level: 2 });
    heading().focus();
    await user.keyboard('{F2}');
    await user.keyboard('Nothing{Escape}');
    expect(document.activeElement).toBe(heading());
    expect(at.told).toEqual([]);
    await user.keyboard('{F2}');
    await user.keyboard('Reversal{Enter}');
    await waitFor(() => expect(heading().textContent).toBe('Reversal'));
    await user.dblClick(heading());
    await user.keyboard('Carry');
    await user.tab();
    await waitFor(() => expect(at.told.map(one => one.title)).toEqual(['Reversal', 'Carry']));
  });

  it('deletes only after a yes', async () => {
    const { at } = await page({ log: [SAID] });
    const choose = async () => {
      await userEvent.click(screen.getByRole('button', { name: 'Actions of this session' }));
      await userEvent.click(screen.getByRole('menuitem', { name: 'Delete' }));
    };
    at.answer.yes = false;
    await choose();
    await waitFor(() => expect(at.questions).toHaveLength(1));
    expect(at.office.chats.has(ID)).toBe(true);
    at.answer.yes = true;
    await choose();
    await waitFor(() => expect(at.navigation.get()).toEqual({ view: 'sessions' }));
    expect(at.office.chats.has(ID)).toBe(false);
  });

  it('a deletion and a fork that take their time take nobody back who has gone elsewhere', async () => {
    const { at } = await page({ log: [SAID] });
    at.answer.yes = true;
    const elsewhere = { view: 'rooms' } as const;
    for (const name of ['Fork', 'Delete']) {
      act(() => at.navigation.go({ view: 'session', id: ID }));
      await userEvent.click(screen.getByRole('button', { name: 'Actions of this session' }));
      fireEvent.click(screen.getByRole('menuitem', { name }));
      act(() => at.navigation.go(elsewhere));
      await act(() => new Promise(resolve => setTimeout(resolve, 200)));
      expect(at.navigation.get()).toEqual(elsewhere);
    }
  });

  it('copies the link and says so', async () => {
    const { at } = await page({ log: [SAID] });
    await userEvent.click(screen.getByRole('button', { name: 'Actions of this session' }));
    await userEvent.click(screen.getByRole('menuitem', { name: 'Copy link' }));
    await screen.findByText('Link copied.');
    expect(at.asked).toEqual([['copy', `http://localhost/postdoc/s/${ID}`]]);
  });

  it('links what exists, and no address that runs something', async () => {
    const artifact = (name: string, url: string) => ({ type: 'artifact', artifact: name, url });
    const { at } = await page({
      log: [
        SAID,
        { type: 'artifact', artifact: 'notebook', path: 'r/n.py' },
        artifact('compare', 'https://example.org/compare'),
        artifact('pr', 'javascript:alert(1)')
      ]
    });
    const links = within(screen.getByRole('navigation'));
    expect(links.getByRole('link', { name: 'Compare' }).getAttribute('rel')).toContain('noopener');
    expect(links.queryByText('Pull request')).toBeNull();
    expect(links.queryByText('Report')).toBeNull();
    await userEvent.click(links.getByRole('button', { name: 'Notebook' }));
    expect(at.asked).toEqual([['openNotebook', 'r/n.py']]);
  });

  it('links no report and no notebook that the project has only planned', async () => {
    const project = { path: 'r', notebook: 'r/n.py', report: 'r/reports/report.html' };
    const { at, unmount } = await page({ log: [question()], info: { project } });
    const links = within(screen.getByRole('navigation'));
    expect(links.getAllByRole('button').map(one => one.textContent)).toEqual(['Folder']);
    act(() => at.event({ type: 'artifact', artifact: 'report', path: project.report }));
    await links.findByRole('button', { name: 'Report' });
    unmount();
    // What came before the oldest event that is loaded is not known: then the project has to do.
    await page({ log: [question()], info: { project }, hasMore: true });
    expect(screen.getByRole('button', { name: 'Report' })).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Notebook' })).toBeTruthy();
  });

  it('asks again with what was chosen', async () => {
    const { at } = await page({ log: [question()], info: { kind: 'research' } });
    await userEvent.click(screen.getByRole('button', { name: 'Run again with other options' }));
    expect(at.navigation.get()).toMatchObject({
      view: 'new',
      topic: 'Does momentum pay?',
      params: { cost_bps: 20 }
    });
  });
});

describe('the composer', () => {
  it('sends with Enter, goes on with Shift+Enter, and leaves input methods alone', async () => {
    const { at } = await page({ log: [SAID] });
    const user = userEvent.setup();
    await user.type(box(), 'One{Shift>}{Enter}{/Shift}two');
    fireEvent.keyDown(box(), { key: 'Enter', isComposing: true });
    expect(at.told).toEqual([]);
    await user.type(box(), '{Enter}');
    await waitFor(() => expect(at.told).toHaveLength(1));
    expect(at.told[0]).toMatchObject({ type: 'chat', content: 'One\ntwo', mode: 'queue' });
    expect(box()).toHaveProperty('value', '');
  });

  it('sends with Shift+Enter where that is set', async () => {
    const settings = { ...DEFAULT_SETTINGS, sendWithShiftEnter: true };
    const { at } = await page({ log: [SAID] }, one =>
      Object.assign(one.platform, { settings: () => settings })
    );
    const user = userEvent.setup();
    await user.type(box(), 'One{Enter}two');
    expect(at.told).toEqual([]);
    await user.type(box(), '{Shift>}{Enter}{/Shift}');
    await waitFor(() => expect(at.told[0]).toMatchObject({ content: 'One\ntwo' }));
  });

  it.each([
    ['Queue', 'queue'],
    ['Steer at next step', 'steer'],
    ['Stop and send', 'interrupt']
  ])('while the agent works: %s', async (name, mode) => {
    const { at } = await page({ log: [SAID], state: 'running' });
    const user = userEvent.setup();
    await user.type(box(), 'Also weekly');
    await user.click(screen.getByRole('button', { name: 'When to send' }));
    await user.click(screen.getByRole('menuitem', { name }));
    await waitFor(() => expect(at.told[0]).toMatchObject({ type: 'chat', content: 'Also weekly', mode }));
  });

  it('gives a refused message back, with the reason', async () => {
    const { at } = await page({ log: [SAID] });
    at.refusal = { code: 'queue_full', error: 'Eight messages wait already.', next: 'Wait.' };
    await userEvent.type(box(), 'My words{Enter}');
    await screen.findByText('Eight messages wait already. Wait.');
    expect(box()).toHaveProperty('value', 'My words');
    await waitFor(() => expect(screen.getByRole('log').textContent).not.toContain('My words'));
  });

  it('sends nothing that is too long, and says how long it is', async () => {
    const { at } = await page({ log: [SAID] });
    fireEvent.change(box(), { target: { value: 'x'.repeat(200_001) } });
    expect((await screen.findByRole('alert')).textContent).toContain('200001 characters; at most 200000');
    fireEvent.keyDown(box(), { key: 'Enter' });
    expect(screen.getByRole('button', { name: 'Send' })).toHaveProperty('disabled', true);
    expect(at.told).toEqual([]);
  });

  it('finds the draft again, and forgets it once it was accepted', async () => {
    const kept = new Map<string, unknown>([[`draft:${ID}`, 'Half a thou']]);
    const { at, unmount } = await page({ log: [SAID], kept });
    await waitFor(() => expect(box()).toHaveProperty('value', 'Half a thou'));
    await userEvent.type(box(), 'ght');
    unmount();
    expect(kept.get(`draft:${ID}`)).toBe('Half a thought');
    render(
      <AtDesk at={at}>
        <SessionPage id={ID} />
      </AtDesk>
    );
    await waitFor(() => expect(box()).toHaveProperty('value', 'Half a thought'));
    at.office.dead = true;
    await userEvent.type(box(), '{Enter}');
    expect(box()).toHaveProperty('value', '');
    expect(kept.get(`draft:${ID}`)).toBe('Half a thought'); // nobody has it yet
    at.office.dead = false;
    at.office.last.end();
    act(() => at.platform.client.retryNow());
    await waitFor(() => expect(kept.get(`draft:${ID}`)).toBe(''), { timeout: 5000 });
  });

  it('changes a waiting message without losing its lines, and takes it back', async () => {
    const queue = [{ id: 'q1', content: 'One\ntwo', kind: 'chat' }];
    const { at } = await page({ log: [SAID], state: 'running', queue });
    const user = userEvent.setup();
    await user.click(screen.getByRole('button', { name: 'Change this message' }));
    await user.type(screen.getByRole('textbox', { name: 'The waiting message' }), '!{Enter}');
    await waitFor(() =>
      expect(at.told[0]).toMatchObject({ type: 'queue.update', messageId: 'q1', content: 'One\ntwo!' })
    );
    await user.click(await screen.findByRole('button', { name: 'Take this message back' }));
    await waitFor(() => expect(at.told[1]).toMatchObject({ type: 'queue.cancel', messageId: 'q1' }));
  });

  it('shows a waiting message once, until it is taken', async () => {
    const queue = [{ id: 'm2', content: 'Then this', kind: 'chat' }];
    const said = { ...SAID, id: 'm2', content: 'Then this' };
    const { at } = await page({ log: [SAID, said], state: 'running', queue });
    expect(screen.getAllByText('Then this')).toHaveLength(1);
    expect(within(screen.getByRole('log')).queryByText('Then this')).toBeNull();
    act(() => at.event({ type: 'queue_changed', pending: [] }));
    await within(screen.getByRole('log')).findByText('Then this');
  });

  it('keeps what was typed when the agent takes a message that is being changed', async () => {
    const queue = [{ id: 'q1', content: 'One', kind: 'chat' }];
    const { at } = await page({ log: [SAID], state: 'running', queue });
    await userEvent.click(screen.getByRole('button', { name: 'Change this message' }));
    await userEvent.type(screen.getByRole('textbox', { name: 'The waiting message' }), ' more');
    act(() => at.event({ type: 'queue_changed', pending: [] }));
    await waitFor(() => expect(box()).toHaveProperty('value', 'One more'));
  });

  it('says what to do where no model answers', async () => {
    await page({ log: [question()], models: KEYLESS });
    await screen.findByText(/needs a model key.*Set ANTHROPIC_API_KEY\./);
    expect(screen.queryByRole('textbox')).toBeNull();
    expect(screen.getByRole('button', { name: 'Run again with other options' })).toBeTruthy();
  });

  it('offers a follow-up only where a model answers', async () => {
    const verdict = { claim: 'It pays.', supported: true };
    const done = {
      type: 'result',
      success: true,
      duration_ms: 1,
      stop_reason: 'end_turn',
      summary: '',
      verdict
    };
    const { unmount } = await page({ log: [question(), done], models: KEYLESS });
    await screen.findByText(/needs a model key/);
    expect(screen.getByText('It pays.')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Ask a follow-up' })).toBeNull();
    unmount();
    await page({ log: [question(), done] });
    await userEvent.click(await screen.findByRole('button', { name: 'Ask a follow-up' }));
    expect(document.activeElement).toBe(box());
  });

  it('shows what cannot be chosen and why; locks in a turn', async () => {
    const { at } = await page({ log: [SAID] });
    const model = await screen.findByRole('combobox', { name: 'Model' });
    expect(screen.getByRole('option', { name: 'Opus: Not for you.' })).toHaveProperty('disabled', true);
    expect(screen.queryByRole('option', { name: /Template/ })).toBeNull();
    expect(screen.getByRole('combobox', { name: 'Persona' })).toHaveProperty('disabled', true);
    expect(model).toHaveProperty('disabled', false);
    act(() => at.state('running'));
    await waitFor(() => expect(model).toHaveProperty('disabled', true));
  });

  it('adds what is selected at that moment', async () => {
    let text = 'old';
    await page({ log: [SAID] }, one =>
      Object.assign(one.platform, { context: () => ({ label: 'cell 3', text }) })
    );
    await userEvent.type(box(), 'Look:');
    text = 'df.head()';
    await userEvent.click(screen.getByRole('button', { name: 'Add selection (cell 3)' }));
    expect(box()).toHaveProperty('value', 'Look:\n\ndf.head()');
  });

  it('is where Escape and a follow-up lead', async () => {
    await page({ log: [SAID] });
    screen.getByRole('heading', { level: 2 }).focus();
    await userEvent.keyboard('{Escape}');
    expect(document.activeElement).toBe(box());
    const log = screen.getByRole('log');
    act(
      () =>
        void log.dispatchEvent(
          new CustomEvent('postdoc:compose', { bubbles: true, detail: { text: 'And?' } })
        )
    );
    expect(box()).toHaveProperty('value', 'And?');
  });
});

describe('stopping', () => {
  it('a second press forces; a double click does not', async () => {
    const { at } = await page({ log: [SAID], state: 'running' });
    falseClock();
    const press = () => fireEvent.click(screen.getByRole('button', { name: /stop/i }));
    press();
    press();
    await pass(600);
    expect(at.told.map(one => one.how)).toEqual(['graceful']);
    expect(screen.getByRole('button', { name: 'Force stop' })).toBeTruthy();
    press();
    await pass(50);
    expect(at.told.map(one => one.how)).toEqual(['graceful', 'now']);
  });

  it('offers to force in the live line after five seconds', async () => {
    const { at } = await page({ log: [SAID], state: 'running' });
    falseClock();
    await act(async () => at.state('stopping', 'user'));
    await pass(50);
    await pass(4000);
    expect(screen.getAllByRole('button', { name: 'Force stop' })).toHaveLength(1);
    await pass(2000);
    const [first] = screen.getAllByRole('button', { name: 'Force stop' });
    expect(screen.getAllByRole('button', { name: 'Force stop' })).toHaveLength(2);
    fireEvent.click(first as HTMLElement);
    await pass(50);
    expect(at.told[0]).toMatchObject({ type: 'stop', how: 'now' });
  });

  it('is called Cancel while it waits its turn', async () => {
    await page({ log: [SAID], state: 'queued' });
    expect(screen.getByRole('button', { name: 'Cancel' })).toBeTruthy();
  });
});

describe('the live line', () => {
  it('leads to the card that waits for an answer', async () => {
    const ask = {
      type: 'question',
      requestId: 'q',
      question: 'Which file?',
      options: ['a.csv'],
      runId: 'r1'
    };
    await page({ log: [SAID, ask], state: 'waiting' });
    const card = document.querySelector('[data-request=q]');
    await userEvent.click(screen.getByRole('group', { name: 'Timeline' }));
    const line = document.querySelector('.jp-Postdoc-Live') as HTMLElement;
    await userEvent.click(within(line).getByRole('button', { name: 'Answer' }));
    expect(card?.contains(document.activeElement)).toBe(true);
  });

  it('goes on with what was stopped, and says what came in its way', async () => {
    const { at } = await page({ log: [SAID], state: 'stopped' });
    at.refusal = { code: 'busy', error: 'This session is at work already.', next: 'Wait for it.' };
    await userEvent.click(screen.getByRole('button', { name: 'Resume' }));
    await screen.findByText('This session is at work already. Wait for it.');
    expect(at.told[0]).toMatchObject({ type: 'resume' });
  });

  it('is read out once a second at most', async () => {
    const { at } = await page({ log: [SAID], state: 'running' });
    falseClock();
    const read = document.querySelector('.jp-Postdoc-Live [role=status]') as HTMLElement;
    const heard: string[] = [];
    const watch = new MutationObserver(() => heard.push(read.textContent ?? ''));
    watch.observe(read, { childList: true, characterData: true, subtree: true });
    for (let step = 0; step < 30; step++) {
      await act(async () => at.event({ type: 'agent_status', runId: 'r1', message: `Step ${step}` }));
      await pass(100);
    }
    await pass(1500);
    watch.disconnect();
    expect(heard.at(-1)).toBe('Step 29');
    expect(heard.length).toBeLessThanOrEqual(5);
  });

  it('warns from 80 % of the limit on', async () => {
    const begun = { type: 'session_state', status: 'running', version: 2, runId: 'r1' };
    const usage = (cost: number) => ({
      type: 'usage',
      runId: 'r1',
      tokens: { input_tokens: 1000, output_tokens: 10 },
      cost
    });
    const { at } = await page({ log: [question('T', { usd: 1 }), begun, usage(0.7)], state: 'running' });
    const bar = screen.getByRole('progressbar', { name: 'Cost: $0.70 of $1.00' });
    expect(bar.className).not.toContain('jp-mod-warn');
    act(() => at.event(usage(0.1)));
    const full = await screen.findByRole('progressbar', { name: 'Cost: $0.80 of $1.00' });
    expect(full.className).toContain('jp-mod-warn');
  });
});

describe('the plan', () => {
  const items = ['Load', 'Backtest the signal', 'Write'].map((text, i) => ({
    text,
    state: ['done', 'active', 'pending'][i]
  }));

  it('is open while it is short, says the step that is done now when closed, and remembers', async () => {
    const kept = new Map<string, unknown>();
    const { unmount } = await page({ log: [SAID, { type: 'plan', items }], state: 'running', kept });
    const plan = within(screen.getByRole('region', { name: 'Plan' }));
    expect(plan.getAllByRole('listitem').map(one => one.textContent)).toEqual([
      '☑Load (done)',
      '▣Backtest the signal (now)',
      '☐Write (to do)'
    ]);
    await userEvent.click(plan.getByRole('button'));
    expect(plan.getByRole('button').textContent).toBe('2 of 3 · Backtest the signal');
    unmount();
    await page({ log: [SAID, { type: 'plan', items }], state: 'running', kept });
    await waitFor(() => expect(screen.queryByText('☑')).toBeNull());
  });

  it('is closed when it is long', async () => {
    const long = Array.from({ length: 11 }, (_, i) => ({ text: `Step ${i}`, state: 'pending' }));
    await page({ log: [SAID, { type: 'plan', items: long }], state: 'running' });
    expect(screen.queryByText('Step 3')).toBeNull();
    expect(screen.getByText('0 of 11')).toBeTruthy();
  });
});

describe('accessibility', () => {
  const states = [
    'queued',
    'starting',
    'running',
    'waiting',
    'stopping',
    'finished',
    'stopped',
    'error',
    'interrupted'
  ];
  it.each([...states, 'empty', 'keyless'])('%s', async state => {
    const ask = { type: 'question', requestId: 'q', question: 'Which?', options: ['a'], runId: 'r1' };
    const log = [
      question('T', { usd: 1 }),
      { type: 'plan', items: [{ text: 'Load', state: 'active' }] },
      { type: 'artifact', artifact: 'notebook', path: 'n.py' },
      ...(state === 'waiting' ? [ask] : [])
    ];
    const { container } = await page({
      log: state === 'empty' ? [] : log,
      state: states.includes(state) ? state : 'finished',
      models: state === 'keyless' ? KEYLESS : undefined,
      queue: state === 'running' ? [{ id: 'q1', content: 'One', kind: 'chat' }] : []
    });
    const found = await axe.run(container, { rules: { 'color-contrast': { enabled: false } } });
    expect(found.violations.map(one => `${one.id}: ${one.nodes[0]?.html}`)).toEqual([]);
  });
});
