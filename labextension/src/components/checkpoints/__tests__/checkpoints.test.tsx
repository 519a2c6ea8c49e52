import { render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import React from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';

import type { Checkpoint, CheckpointDiff } from '../../../client';
import type { Bench } from '../../session/__tests__/bench';
import { bench, ID } from '../../session/__tests__/bench';
import { AtDesk } from '../../sessions/__tests__/desk';
import { CheckpointsSheet } from '../CheckpointsSheet';

const open: Bench[] = [];
afterEach(() => open.splice(0).forEach(one => one.platform.client.dispose()));

function checkpoint(letter: string, subject: string, change: Partial<Checkpoint> = {}): Checkpoint {
  const sha = letter.repeat(40);
  const cells = { added: 0, changed: 0, removed: 0 };
  const ts = new Date(Date.now() - 7_200_000).toISOString();
  return {
    sha,
    short: sha.slice(0, 7),
    subject,
    step: 'turn:1',
    run: 'r1',
    ts,
    by: '',
    cells,
    ...change
  };
}

const LIST = [
  checkpoint('c', 'Run the notebook', { cells: { added: 1, changed: 2, removed: 0 } }),
  checkpoint('b', 'Load the data', { by: 'Ben', cells: { added: 1, changed: 0, removed: 1 } }),
  checkpoint('a', 'Start')
];
const DIFF: CheckpointDiff = {
  sha: 'b'.repeat(40),
  against: 'a'.repeat(40),
  cells: [
    { name: 'load', change: 'changed', before: 'x = 1\ny = 2', after: 'x = 1\ny = 3' },
    { name: 'kept', change: 'same', before: null, after: null },
    { name: 'gone', change: 'removed', before: 'z = 0', after: null },
    { name: 'walked', change: 'moved', before: null, after: null }
  ],
  files: [{ path: 'README.md', change: 'added' }, 7, null]
};

interface Answers {
  list?: () => object | null;
  diff?: object | null;
  restored?: object | null;
}

/** The sheet on a server that answers so; what it was asked is written down. */
function sheet(answers: Answers = {}) {
  const at = bench({ log: [] });
  open.push(at);
  const asked: { path: string; method: string }[] = [];
  const { rest } = at.office;
  at.office.rest = (path, init) => {
    const method = init?.method ?? 'GET';
    if (!path.includes('/checkpoints')) {
      return rest(path, init);
    }
    asked.push({ path, method });
    if (method === 'POST') {
      return answers.restored === undefined ? { commit: 'd'.repeat(40), changed: true } : answers.restored;
    }
    return path.endsWith('/checkpoints')
      ? (answers.list ?? (() => LIST))()
      : answers.diff === undefined
        ? { ...DIFF, against: path.includes('live') ? 'live' : DIFF.against }
        : answers.diff;
  };
  const closed = vi.fn();
  const shown = render(
    <AtDesk at={at}>
      <CheckpointsSheet session={ID} onClose={closed} />
    </AtDesk>
  );
  at.platform.client.start();
  return { at, asked, closed, user: userEvent.setup(), ...shown };
}

const rows = () =>
  within(screen.getByRole('list', { name: 'Checkpoints, newest first' })).getAllByRole('listitem');

async function accessible() {
  const { violations } = await axe.run(document.body, {
    rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
  });
  expect(violations.map(({ id, nodes }) => [id, nodes.map(node => node.html)])).toEqual([]);
}

async function opened(user: ReturnType<typeof userEvent.setup>, subject: RegExp) {
  await user.click(await screen.findByRole('button', { name: subject, expanded: false }));
}

describe('the list', () => {
  it('says what each step did, who did it, and which is the newest', async () => {
    sheet();
    await screen.findByText('Run the notebook');
    expect(rows().map(row => row.textContent)).toEqual([
      expect.stringContaining('ccccccc the agent · 2 hours ago · 1 cell added · 2 cells changed'),
      expect.stringContaining('bbbbbbb Ben · 2 hours ago · 1 cell added · 1 cell removed'),
      expect.stringMatching(/aaaaaaa the agent · 2 hours ago$/)
    ]);
    expect(rows().filter(row => row.textContent?.includes('newest'))).toHaveLength(1);
    await accessible();
  });

  it('says that there is none yet', async () => {
    sheet({ list: () => [] });
    await screen.findByText('There is no checkpoint yet.');
  });

  it('says why it could not be read, and reads it on demand', async () => {
    let there = false;
    const { user } = sheet({ list: () => (there ? LIST : null) });
    const alert = await screen.findByRole('alert');
    there = true;
    await user.click(within(alert).getByRole('button', { name: 'Retry' }));
    await screen.findByText('Run the notebook');
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('shows what was written as what it is', async () => {
    const evil = '\u001b[31mred\u202e<img src=x onerror=alert(1)>';
    const { user, container } = sheet({
      list: () => [checkpoint('a', evil, { by: evil })],
      diff: { ...DIFF, cells: [{ name: evil, change: 'added', before: null, after: evil }], files: [] }
    });
    await opened(user, /^red<img/);
    await screen.findByText(/⟨U\+001B⟩\[31mred⟨U\+202E⟩<img/);
    expect(container.ownerDocument.querySelector('img')).toBeNull();
    expect(document.body.textContent).not.toContain('\u202e');
  });
});

describe('a checkpoint', () => {
  it('shows the difference that it made, and that going back would make', async () => {
    const { user, asked } = sheet();
    await opened(user, /^Load the data/);
    const files = await screen.findByRole('region', { name: 'Other files' });
    expect(within(files).getByText('README.md')).toBeTruthy();
    const changed = screen.getByLabelText('Changes of load');
    expect(changed.textContent).toContain('removed: y = 2');
    expect(changed.textContent).toContain('added: y = 3');
    expect(screen.getByLabelText('Changes of gone').textContent).toContain('removed: z = 0');
    expect(screen.getByText('walked')).toBeTruthy();
    expect(screen.queryByText('kept')).toBeNull();
    expect(asked[asked.length - 1]?.path).toBe(`api/chats/${ID}/checkpoints/${'b'.repeat(40)}`);
    await accessible();
    await user.click(screen.getByRole('radio', { name: 'What going back would do' }));
    await waitFor(() => expect(asked[asked.length - 1]?.path).toMatch(/\?against=live$/));
  });

  it('says when nothing is different', async () => {
    const { user } = sheet({ diff: { ...DIFF, against: 'live', cells: [], files: [] } });
    await opened(user, /^Start/);
    await screen.findByText('Nothing: the notebook is as it was then.');
  });

  it('is brought back when that is wanted', async () => {
    const { user, asked } = sheet();
    await opened(user, /^Load the data/);
    const posted = () => asked.filter(one => one.method === 'POST').map(one => one.path);
    await user.click(screen.getByRole('button', { name: 'Restore “Load the data”…' }));
    const sure = within(screen.getByRole('group', { name: 'Go back?' }));
    expect(document.activeElement?.textContent).toBe('Restore “Load the data”');
    await accessible();
    await user.click(sure.getByRole('button', { name: 'Cancel' }));
    expect(document.activeElement?.textContent).toBe('Restore…');
    expect(posted()).toEqual([]);
    await user.click(screen.getByRole('button', { name: 'Restore “Load the data”…' }));
    await user.click(screen.getByRole('button', { name: 'Restore “Load the data”' }));
    await screen.findByText('The notebook is again what it was at “Load the data”.');
    expect(posted()).toEqual([`api/chats/${ID}/checkpoints/${'b'.repeat(40)}/restore`]);
    expect(asked.filter(one => one.path.endsWith('/checkpoints')).length).toBeGreaterThan(1);
  });

  it('says why it was not brought back', async () => {
    const { at, user } = sheet();
    vi.spyOn(at.platform.client, 'restoreCheckpoint').mockRejectedValue(
      new Error('An agent works. Stop it.')
    );
    await opened(user, /^Start/);
    await user.click(screen.getByRole('button', { name: 'Restore “Start”…' }));
    await user.click(screen.getByRole('button', { name: 'Restore “Start”' }));
    expect((await screen.findByRole('alert')).textContent).not.toBe('');
    expect(screen.getByRole('button', { name: 'Restore “Start”…' })).toBeTruthy();
  });

  it('is where another session begins', async () => {
    const { at, user, closed } = sheet();
    await opened(user, /^Load the data/);
    await user.click(screen.getByRole('button', { name: 'New session from here: “Load the data”' }));
    await waitFor(() => expect(closed).toHaveBeenCalled());
    const forks = at.told.filter(one => one.type === 'fork');
    expect(forks.map(({ commit, at: upto }) => [commit, upto])).toEqual([['b'.repeat(40), undefined]]);
    expect(at.navigation.get().view).toBe('session');
  });

  it('is in the list as soon as the agent has made it', async () => {
    let list = LIST.slice(1);
    const { at } = sheet({ list: () => list });
    const leave = at.platform.client.open(ID);
    await screen.findByText('Load the data');
    list = LIST;
    at.event({
      type: 'artifact',
      artifact: 'commit',
      title: 'Run the notebook',
      data: { commit: 'c'.repeat(40) }
    });
    await screen.findByText('Run the notebook');
    leave();
  });
});
