import { act, cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import axe from 'axe-core';
import { readFileSync } from 'node:fs';
import React from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { CHAT, Wire } from '../../../__tests__/wire';
import { type Live, createClient } from '../../../client';
import { createPageMarkdown } from '../../../markdown/page';
import { Navigation, NavigationProvider } from '../../../navigation';
import { DEFAULT_SETTINGS, PlatformProvider, useSelected } from '../../../platform';
import type { Platform, Settings } from '../../../platform';
import { Timeline } from '../Timeline';

let wire: Wire;
let live: Live;
let asked: unknown[][];
let settings: Settings;
let navigation: Navigation;

const trans: Platform['trans'] = {
  __: (text, ...args) => text.replace(/%(\d)/g, (_, n: string) => String(args[Number(n) - 1])),
  _n: (one, many, n, ...args) => trans.__(n === 1 ? one : many, n, ...args)
};

function Shown(): JSX.Element | null {
  const view = useSelected(state => state.views[CHAT]);
  return view === undefined ? null : <Timeline session={view} />;
}

/** The timeline of a session on a server in memory, with the real client, store and markdown. */
async function show(): Promise<HTMLElement> {
  live = createClient(wire);
  live.client.start();
  live.client.open(CHAT);
  const note =
    (name: string) =>
    (...args: unknown[]) =>
      void asked.push([name, ...args]);
  const platform: Platform = {
    kind: 'page',
    client: live.client,
    store: live.store,
    trans,
    language: 'en',
    markdown: createPageMarkdown(),
    memory: { get: async () => undefined, set: async () => undefined },
    settings: () => settings,
    onSettingsChanged: () => () => undefined,
    confirm: async () => true,
    copy: async text => void asked.push(['copy', text]),
    openNotebook: note('openNotebook'),
    openFile: note('openFile'),
    openReport: note('openReport'),
    openFolder: note('openFolder'),
    insertCode: note('insertCode')
  };
  const { container } = render(
    <PlatformProvider value={platform}>
      <NavigationProvider value={navigation}>
        <Shown />
      </NavigationProvider>
    </PlatformProvider>
  );
  await screen.findByRole('log');
  return container;
}

const happen = async (body: object, partial = false) => {
  await act(async () => {
    wire.happen(body, CHAT, partial);
    await new Promise(done => setTimeout(done, 150));
  });
};
const use = (id: string, toolName: string, toolInput: object, more: object = {}) =>
  wire.happen({
    type: 'tool_use',
    toolId: id,
    toolName,
    toolInput,
    title: `${toolName} ${id}`,
    runId: 'r',
    ...more
  });
const result = (id: string, toolName: string, more: object = {}) =>
  wire.happen({
    type: 'tool_result',
    toolId: id,
    toolName,
    ok: true,
    content: 'fine',
    duration_ms: 2000,
    runId: 'r',
    ...more
  });
const ending = (stop_reason: string, summary: string) => ({
  type: 'result',
  success: false,
  partial: true,
  cost: null,
  duration_ms: 2000,
  stop_reason,
  summary
});
const responses = () => wire.last.sent.filter(frame => frame.type === 'respond');

beforeEach(() => {
  wire = new Wire();
  wire.log();
  asked = [];
  settings = DEFAULT_SETTINGS;
  navigation = new Navigation();
  wire.happen({ type: 'session_state', status: 'running', version: 1, runId: 'r' });
});

afterEach(() => live.client.dispose());

describe('what is said', () => {
  it('streams in as markdown, and ends with a button that copies it', async () => {
    await show();
    await happen({ type: 'token', itemId: 'i', delta: 'One **bo' }, true);
    await happen({ type: 'token', itemId: 'i', delta: 'ld** word\n\n- a' }, true);
    expect((await screen.findByText('bold', {}, { timeout: 5000 })).tagName).toBe('STRONG');
    const first = screen.getByText('bold').closest('.jp-Postdoc-Block');
    expect(screen.queryByRole('button', { name: 'Copy this reply' })).toBeNull();
    await happen({ type: 'token', itemId: 'i', delta: '\n- b\n\n1. x\n\npara\n\nend' }, true);
    expect(screen.getByText('bold').closest('.jp-Postdoc-Block')).toBe(first);
    const content = 'One **bold** word\n\n- a\n- b\n\n1. x\n\npara\n\nend';
    await happen({ type: 'assistant_message', itemId: 'i', content });
    fireEvent.click(await screen.findByRole('button', { name: 'Copy this reply' }, { timeout: 5000 }));
    expect(asked).toEqual([['copy', content]]);
  });

  it('has code that can be copied and inserted, and files of the project that open', async () => {
    wire.happen({ type: 'artifact', artifact: 'repo', path: 'research/a' });
    wire.happen({
      type: 'assistant_message',
      itemId: 'i',
      content: '```python\nx = 1\n```\n\nsee [notes](docs/notes.md) and [out](../../../etc/passwd)'
    });
    await show();
    fireEvent.click(await screen.findByRole('button', { name: 'Copy' }));
    fireEvent.click(screen.getByRole('button', { name: 'Insert into notebook' }));
    fireEvent.click(screen.getByText('notes'));
    fireEvent.click(screen.getByText('out'));
    expect(asked).toEqual([
      ['copy', 'x = 1'],
      ['insertCode', 'x = 1'],
      ['openFile', 'research/a/docs/notes.md']
    ]);
  });

  it('is harmless, whoever has written it', async () => {
    const evil = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>';
    wire.happen({
      type: 'user_message',
      id: 'u',
      content: evil,
      by: evil,
      research: { topic: evil, template: evil, params: { a: evil } }
    });
    wire.happen({
      type: 'assistant_message',
      itemId: 'i',
      content: evil,
      citations: [
        { url: 'javascript:window.hurt=1', title: evil },
        { url: 'https://ok.example/a', title: 'Paper' }
      ]
    });
    use('t', evil, { path: evil }, { title: evil });
    result('t', evil, { ok: false, content: evil });
    wire.happen({ type: 'question', requestId: 'q', question: evil, options: [evil] });
    wire.happen({ type: 'error', code: 'x', error: evil, next: evil });
    const container = await show();
    await screen.findByText('Paper');
    expect(container.querySelector('script, [onerror], img')).toBeNull();
    expect((window as { hurt?: number }).hurt).toBeUndefined();
    const links = [...container.querySelectorAll('a')];
    expect(links.map(link => [link.href, link.rel])).toEqual([
      ['https://ok.example/a', 'noopener noreferrer']
    ]);
  });

  it('says that a reply was cut off', async () => {
    wire.happen({ type: 'assistant_message', itemId: 'i', content: 'half', partial: true });
    await show();
    expect(screen.getByText('This reply was cut off.')).toBeTruthy();
  });

  it('shows thinking closed, its last line while it lives, or nothing: as the user wants it', async () => {
    settings = { ...DEFAULT_SETTINGS, showThinking: 'live' };
    await show();
    await happen({ type: 'thinking', itemId: 'h', delta: 'first line\nlast line' }, true);
    expect(screen.getByText('last line')).toBeTruthy();
    await happen({ type: 'thinking', itemId: 'h', content: 'first line\nlast line' });
    expect(screen.queryByText(/last line/)).toBeNull();
    fireEvent.click(screen.getByRole('button', { name: /^Thought for/ }));
    expect(screen.getByText(/first line/)).toBeTruthy();
  });

  it('a message that was not sent is sent again, or forgotten', async () => {
    await show();
    await act(() => live.client.say(CHAT, 'refuse me').catch(() => undefined));
    fireEvent.click(await screen.findByRole('button', { name: 'Retry' }));
    await waitFor(() =>
      expect(wire.last.sent.filter(frame => frame.content === 'refuse me')).toHaveLength(2)
    );
    fireEvent.click(await screen.findByRole('button', { name: 'Forget' }));
    await waitFor(() => expect(screen.queryByText('refuse me')).toBeNull());
  });
});

describe('calls of tools', () => {
  it('fold, and open', async () => {
    for (const id of ['a', 'b', 'c', 'd']) {
      use(id, 'read_file', { path: `${id}.py` });
      result(id, 'read_file', { content: `text of ${id}` });
    }
    await show();
    expect(screen.queryByText('read_file a')).toBeNull();
    fireEvent.click(screen.getByRole('button', { name: 'Ran 4 steps · 8 s' }));
    fireEvent.click(screen.getByRole('button', { name: /read_file b/ }));
    expect(screen.getByLabelText('Output').textContent).toBe('text of b');
  });

  it('do not fold when the user does not want it', async () => {
    settings = { ...DEFAULT_SETTINGS, foldToolCalls: false };
    for (const id of ['a', 'b', 'c']) {
      use(id, 'read_file', {});
      result(id, 'read_file');
    }
    await show();
    expect(screen.getAllByRole('button', { name: /read_file/ })).toHaveLength(3);
  });

  it('show an edit as a difference, with its counts in the line', async () => {
    wire.happen({ type: 'artifact', artifact: 'notebook', path: 'research/a/notebook.py' });
    use('1', 'nb_edit', { changes: [{ op: 'put', name: 'load', code: 'x = 1\ny = 2' }] });
    result('1', 'nb_edit');
    wire.happen({ type: 'assistant_message', itemId: 'i', content: 'Better:' });
    use('2', 'nb_edit', { changes: [{ op: 'put', name: 'load', code: 'x = 1\ny = 3\nz = 4' }] });
    result('2', 'nb_edit');
    await show();
    const line = screen.getByRole('button', { name: /nb_edit 2/ });
    expect(line.textContent).toContain('+2 −1');
    fireEvent.click(line);
    const diff = screen.getByLabelText('Changes of load');
    expect(diff.textContent).toContain('removed: y = 2');
    expect(diff.textContent).toContain('added: y = 3');
    fireEvent.click(screen.getByRole('button', { name: 'Open notebook' }));
    expect(asked).toEqual([['openNotebook', 'research/a/notebook.py']]);
  });

  it('show what is wrong without being asked, with its end', async () => {
    use('1', 'shell', { command: 'pytest' });
    const lines = Array.from({ length: 300 }, (_, i) => `line ${i}.`);
    result('1', 'shell', { ok: false, content: lines.join('\n') });
    await show();
    const box = screen.getByLabelText('Error of shell 1');
    expect(box.textContent).toContain('line 299.');
    expect(box.textContent).not.toContain('line 99.');
    fireEvent.click(screen.getByRole('button', { name: 'Show all' }));
    expect(box.textContent).toContain('line 0.');
  });

  it('fetch the whole of an output that was cut', async () => {
    wire.rest = path => (path.endsWith('blobs/77') ? { content: 'the whole text' } : null);
    use('1', 'shell', { command: 'ls' });
    result('1', 'shell', { content: 'the', truncated: true, blob: '77' });
    await show();
    fireEvent.click(screen.getByRole('button', { name: /shell 1/ }));
    fireEvent.click(screen.getByRole('button', { name: 'Show all' }));
    await waitFor(() => expect(screen.getByLabelText('Output').textContent).toBe('the whole text'));
  });

  it('show failed cells first, tables, and pictures that are let go of again', async () => {
    const revoke = vi.fn();
    Object.assign(URL, { createObjectURL: () => 'blob:x', revokeObjectURL: revoke });
    wire.rest = () => ({});
    use('1', 'nb_run', {});
    const cell = (name: string, more: object) =>
      wire.happen({ type: 'cell', runId: 'r', notebook: 'n.py', cell: name, status: 'ok', ...more });
    cell('quiet', {});
    cell('plot', { output: { items: [{ kind: 'image', text: '', blob: 'b', mediaType: 'image/png' }] } });
    cell('evil', { output: { items: [{ kind: 'image', text: '', blob: 'c', mediaType: 'image/svg+xml' }] } });
    cell('data', { output: { items: [{ kind: 'table', text: '', columns: ['a'], rows: [['1'], ['2']] }] } });
    cell('bad', { status: 'error', error: 'KeyError: ret' });
    result('1', 'nb_run', { ok: false, content: 'It stopped.' });
    const container = await show();
    const img = await screen.findByRole('img', { name: 'plot' });
    expect(img.getAttribute('src')).toBe('blob:x');
    expect(container.querySelectorAll('img')).toHaveLength(1);
    const names = [...container.querySelectorAll('.jp-Postdoc-Cell code')].map(node => node.textContent);
    expect(names.slice(0, 2)).toEqual(['bad', 'plot']);
    fireEvent.click(screen.getByRole('button', { name: '1 cell with output' }));
    expect(within(screen.getByRole('table')).getAllByRole('row')).toHaveLength(3);
    fireEvent.click(screen.getAllByRole('button', { name: 'Open in notebook' })[0] as HTMLElement);
    expect(asked).toEqual([['openNotebook', 'n.py', 'bad']]);
    const toggle = img.closest('button') as HTMLButtonElement;
    fireEvent.click(toggle);
    expect(toggle.getAttribute('aria-pressed')).toBe('true');
    expect(revoke).not.toHaveBeenCalled();
    cleanup(); // as when the panel is closed
    expect(revoke).toHaveBeenCalledWith('blob:x');
  });
});

describe('what the agent waits for', () => {
  it('a question is answered once, however often it is clicked', async () => {
    wire.happen({ type: 'question', requestId: 'q1', question: 'Which?', options: ['A', 'B'] });
    await show();
    const button = screen.getByRole('button', { name: 'A' });
    fireEvent.click(button);
    fireEvent.click(button);
    fireEvent.click(screen.getByRole('button', { name: 'B' }));
    await waitFor(() => expect(responses()).toHaveLength(1));
    // The server has taken it, and the event that says so is still on its way.
    await act(() => new Promise(done => setTimeout(done, 100)));
    fireEvent.click(screen.getByRole('button', { name: 'B' }));
    await act(() => new Promise(done => setTimeout(done, 50)));
    expect(responses()).toHaveLength(1);
    expect(responses()[0]).toMatchObject({ requestId: 'q1', answer: 'A' });
    await happen({ type: 'answered', requestId: 'q1', answer: 'A', by: 'ana' });
    expect(screen.getByText('ana: A')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'B' })).toBeNull();
  });

  it('a question takes words of one’s own', async () => {
    wire.happen({ type: 'question', requestId: 'q1', question: 'Which?' });
    await show();
    const field = screen.getByRole('textbox', { name: 'Your answer' });
    fireEvent.change(field, { target: { value: '  neither ' } });
    fireEvent.submit(field);
    fireEvent.submit(field);
    await waitFor(() => expect(responses()).toHaveLength(1));
    expect(responses()[0]).toMatchObject({ answer: 'neither' });
  });

  it('leave is given once, for the session, or denied with a reason', async () => {
    use('t', 'shell', { command: 'curl x' });
    wire.happen({ type: 'approval_request', requestId: 'a', what: 'Fetch x', toolId: 't', risk: 'outside' });
    wire.happen({ type: 'approval_request', requestId: 'b', what: 'Fetch y' });
    await show();
    expect(screen.getByLabelText('What exactly').textContent).toBe('curl x');
    fireEvent.click(screen.getAllByRole('button', { name: 'Allow for this session' })[0] as HTMLElement);
    fireEvent.click(screen.getAllByRole('button', { name: 'Deny…' })[1] as HTMLElement);
    fireEvent.change(screen.getByRole('textbox'), { target: { value: 'too large' } });
    fireEvent.click(screen.getByRole('button', { name: 'Deny' }));
    await waitFor(() => expect(responses()).toHaveLength(2));
    expect(responses()[0]).toMatchObject({ requestId: 'a', decision: 'allow', scope: 'session' });
    expect(responses()[1]).toMatchObject({ requestId: 'b', decision: 'deny', answer: 'too large' });
    await happen({
      type: 'approval_resolved',
      requestId: 'a',
      decision: 'allow',
      scope: 'session',
      by: 'ana'
    });
    expect(screen.getByText('Allowed for this session · ana')).toBeTruthy();
  });
});

describe('a token', () => {
  it('renders the row that it belongs to, and none of the others', async () => {
    for (let i = 0; i < 40; i++) {
      wire.happen({ type: 'assistant_message', itemId: `m${i}`, content: `Reply ${i}` });
      use(`u${i}`, 'shell', { command: 'ls' });
      result(`u${i}`, 'shell', { ok: false, content: 'no' });
    }
    await show();
    const said = vi.spyOn(trans, '__');
    try {
      for (let i = 0; i < 8; i++) {
        await happen({ type: 'token', itemId: 'new', delta: 'word ' }, true);
      }
      const rows = said.mock.calls.filter(([text]) => text === 'Copy this reply' || text === 'waiting');
      expect(screen.getByText(/word word/)).toBeTruthy();
      expect(rows).toEqual([]);
    } finally {
      said.mockRestore();
    }
  });
});

describe('what is shown as it is', () => {
  it('leave is asked for with all of the input, and nothing in it hides or turns around', async () => {
    use('t', 'mcp__x__run', { command: 'ls \u202Etxt.sh', cwd: '/etc', env: { LD_PRELOAD: 'x.so' } });
    wire.happen({
      type: 'approval_request',
      requestId: 'a',
      what: 'Run \u2066ls',
      toolId: 't',
      risk: 'execute'
    });
    await show();
    expect(screen.getByText('Run ⟨U+2066⟩ls')).toBeTruthy();
    expect(screen.getByLabelText('What exactly').textContent).toBe('ls ⟨U+202E⟩txt.sh');
    expect(screen.getByLabelText('With what else').textContent).toMatch(/cwd.*\/etc[^]*LD_PRELOAD/);
  });

  it('an answer to choose from is what is sent', async () => {
    wire.happen({ type: 'question', requestId: 'q', question: 'Which?', options: ['\u202Eon', 'yes'] });
    await show();
    expect(screen.getByRole('button', { name: '⟨U+202E⟩on' })).toBeTruthy();
  });

  it('colours of a terminal are no text, and the focus stays where a text was opened', async () => {
    use('1', 'shell', { command: 'pytest' });
    const lines = Array.from({ length: 300 }, (_, i) => `\u001b[31mline ${i}.\u001b[0m`);
    result('1', 'shell', { ok: false, content: lines.join('\n') });
    await show();
    const box = screen.getByLabelText('Error of shell 1');
    expect(box.textContent).toContain('\nline 299.');
    fireEvent.click(screen.getByRole('button', { name: 'Show all' }));
    expect(box.textContent).toMatch(/^line 0\.\n/);
    expect(document.activeElement).toBe(box);
  });
});

describe('the ends of a run', () => {
  it('a result says what was found, and leads to it', async () => {
    for (const frame of goldenFrames()) {
      const { seq: _seq, chatId: _chat, ts: _ts, v, ...body } = frame;
      wire.happen(body, CHAT, v === undefined);
    }
    const container = await show();
    await happen({ type: 'session_state', status: 'finished', version: 9, reason: 'end_turn' });
    await screen.findByText('Supported');
    expect(screen.getByText('13.17')).toBeTruthy();
    expect(screen.getByText('(95 % interval 8.89 to 17.45)')).toBeTruthy();
    expect(screen.getByText(/Made by a research template; no language model took part\./)).toBeTruthy();
    fireEvent.click(screen.getByRole('button', { name: '4 limits of this result' }));
    expect(screen.getByText(/The data are simulated/)).toBeTruthy();
    const composed = vi.fn();
    container.addEventListener('postdoc:compose', composed);
    for (const name of ['Open report', 'Open notebook', 'Open folder', 'Ask a follow-up']) {
      fireEvent.click(screen.getAllByRole('button', { name }).at(-1) as HTMLElement);
    }
    expect(asked.map(([name, what]) => [name, what])).toEqual([
      ['openReport', CHAT],
      ['openNotebook', 'research/short-term-reversal/notebook.py'],
      ['openFolder', 'research/short-term-reversal']
    ]);
    expect(composed).toHaveBeenCalledTimes(1);
    const { violations } = await axe.run(container, {
      rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
    });
    expect(violations.map(one => [one.id, one.nodes[0]?.html])).toEqual([]);
  });

  it('an error says what to do, is tried again, and can be reported without secrets', async () => {
    wire.happen({ type: 'artifact', artifact: 'notebook', path: 'research/a/notebook.py' });
    use('t', 'shell', { command: 'secret input' });
    result('t', 'shell', { content: 'secret output' });
    wire.happen({
      type: 'error',
      code: 'overloaded',
      error: 'Too busy.',
      next: 'Wait.',
      retryable: true,
      ref: 'e-1'
    });
    wire.happen(ending('overloaded', 'Too busy.'));
    await show();
    expect(screen.getAllByText('Too busy.')).toHaveLength(1); // not again as a result
    expect(screen.queryByRole('button', { name: 'Retry' })).toBeNull(); // the run goes on
    await happen({ type: 'session_state', status: 'error', version: 2 });
    expect(screen.getByText('Kept: research/a/notebook.py')).toBeTruthy();
    fireEvent.click(screen.getByRole('button', { name: 'Retry' }));
    await waitFor(() => expect(wire.last.sent.some(frame => frame.type === 'resume')).toBe(true));
    fireEvent.click(screen.getByRole('button', { name: 'Copy report' }));
    const text = String(asked.at(-1)?.[1]);
    expect(text).toContain('overloaded: Too busy.');
    expect(text).toContain('e-1');
    expect(text).not.toContain('secret');
  });

  it('an end that says nothing new is one line', async () => {
    wire.happen(ending('cancelled', 'Taken back before it began.'));
    wire.happen(ending('stopped', 'Stopped as asked.'));
    const container = await show();
    const lines = Array.from(container.querySelectorAll('.jp-Postdoc-Done'), one => one.textContent);
    expect(lines).toEqual(['Taken back before it was read', 'Stopped · 2 s']);
    expect(container.querySelector('.jp-Postdoc-Card')).toBeNull();
  });

  it('a checkpoint is where another session can begin', async () => {
    const commit = '5bb8084c4e41'.padEnd(40, '0');
    wire.happen({ type: 'artifact', artifact: 'commit', title: 'Load', data: { commit } });
    await show();
    expect(screen.getByText('5bb8084')).toBeTruthy();
    fireEvent.click(screen.getByRole('button', { name: 'Checkpoint “Load”' }));
    act(() => navigation.go({ view: 'session', id: CHAT }));
    const answer = wire.answer.bind(wire);
    wire.answer = (socket, frame) => (frame.type === 'fork' ? undefined : answer(socket, frame));
    fireEvent.click(screen.getByRole('menuitem', { name: 'Fork from here' }));
    const fork = { at: 2, commit };
    await waitFor(() => expect(wire.last.sent.find(frame => frame.type === 'fork')).toMatchObject(fork));
    act(() => navigation.go({ view: 'rooms' }));
    const { id } = wire.last.sent.find(frame => frame.type === 'fork') as { id: string };
    await act(async () => {
      wire.last.give({ type: 'ack', v: 1, ts: '', id, seq: 3, duplicate: false, queued: false, fork: 'f' });
    });
    expect(navigation.get()).toEqual({ view: 'rooms' });
  });
});

describe('a long session', () => {
  it('has its last 200 items mounted', async () => {
    for (let i = 0; i < 500; i++) {
      wire.happen({ type: 'assistant_message', itemId: `i${i}`, content: `Message ${i}.` });
    }
    const container = await show();
    const rows = container.querySelectorAll('.jp-Postdoc-Item');
    expect(rows).toHaveLength(200);
    expect(rows[199]?.textContent).toContain('Message 499.');
  });
});

function goldenFrames(): { seq: number; chatId: string; ts?: string; v?: number; type: string }[] {
  return readFileSync('src/__tests__/golden/research.jsonl', 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
    .filter(frame => 'seq' in frame && frame.type !== 'ack');
}
