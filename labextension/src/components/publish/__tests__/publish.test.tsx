import { act, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import React from 'react';
import { afterEach, describe, expect, it } from 'vitest';

import type { GitHubStatus } from '../../../client';
import type { Publication } from '../../../protocol';
import type { Bench } from '../../session/__tests__/bench';
import { bench, ID, question } from '../../session/__tests__/bench';
import { SessionPage } from '../../session/SessionPage';
import { AtDesk, chat } from '../../sessions/__tests__/desk';
import { Row } from '../../sessions/Row';
import { GitHubOverlay } from '../GitHubSheet';
import { legalOnGitHub, nearestName } from '../names';
import { COMMENTS, CONNECTED, failed, NOT_CONNECTED, PLACED, publication, PULL, steps } from './cases';

const TOKEN = 'github_pat_canary_0123456789';
const open: Bench[] = [];
afterEach(() => open.splice(0).forEach(one => one.platform.client.dispose()));

interface Asked {
  path: string;
  method: string;
  body: Record<string, unknown>;
}

const STUDY = [
  question(),
  { type: 'artifact', artifact: 'repo', path: 'research/reversal' },
  {
    type: 'result',
    runId: 'r1',
    success: true,
    cost: 0.8,
    duration_ms: 60_000,
    stop_reason: 'end_turn',
    summary: 'It pays.',
    verdict: { supported: true, claim: 'Reversal pays.' }
  }
];

/** The page of a finished study, on a server whose GitHub stands like that. */
async function page(status: GitHubStatus, ...events: Publication[]) {
  const at = bench({ log: [...STUDY, ...events], info: { project: { repo: 'reversal', commit: 'c0ffee' } } });
  open.push(at);
  const asked: Asked[] = [];
  const answers: Record<string, object | null> = {};
  const { rest } = at.office;
  let now = status;
  at.office.rest = (path, init) => {
    const method = init?.method ?? 'GET';
    if (method !== 'GET') {
      asked.push({ path, method, body: JSON.parse(String(init?.body ?? '{}')) as Record<string, unknown> });
    }
    if (path === 'api/github') {
      now = method === 'PUT' ? CONNECTED : method === 'DELETE' ? NOT_CONNECTED : now;
      return answers[`${method} ${path}`] === undefined ? now : (answers[`${method} ${path}`] ?? null);
    }
    if (path.endsWith('/publication')) {
      return { state: 'local', canPublish: true, connected: now.connected };
    }
    if (path.endsWith('/comments')) {
      return method === 'GET' ? COMMENTS : { type: 'ack' };
    }
    return path.endsWith('/refresh') ? {} : rest(path, init);
  };
  const shown = render(
    <AtDesk at={at}>
      <div className="jp-Postdoc">
        <SessionPage id={ID} />
        <GitHubOverlay />
      </div>
    </AtDesk>
  );
  at.platform.client.start();
  await waitFor(() => expect(shown.container.querySelector('[data-publication]')).not.toBeNull());
  const card = () => within(shown.container.querySelector<HTMLElement>('[data-publication]')!);
  return { at, asked, answers, card, user: userEvent.setup(), ...shown };
}

const told = (at: Bench) =>
  at.told.filter(one => one.type === 'publish').map(({ id: _, chatId: __, type: ___, ...rest }) => rest);

async function accessible() {
  const { violations } = await axe.run(document.body, {
    rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
  });
  expect(violations.map(({ id, nodes }) => [id, nodes.map(node => node.html)])).toEqual([]);
}

describe('a study that is only here', () => {
  it('is published by one click, and the target is there to read', async () => {
    const { at, card, user } = await page(CONNECTED);
    await card().findByText('ana/reversal');
    expect(card().getByText(/private/)).toBeTruthy();
    await user.click(card().getByRole('button', { name: 'Publish' }));
    await waitFor(() => expect(told(at)).toEqual([{}]));
    await accessible();
  });

  it('offers to connect first', async () => {
    const { at, card, user } = await page(NOT_CONNECTED);
    await card().findByText('Saved locally in reversal. Connect GitHub to publish; nothing is lost.');
    expect(card().queryByRole('button', { name: 'Publish' })).toBeNull();
    await user.click(card().getByRole('button', { name: 'Connect GitHub…' }));
    expect(at.navigation.overlay()).toBe('github');
    await screen.findByRole('dialog', { name: 'GitHub' });
  });

  it('says why a publication was refused', async () => {
    const { at, card, user } = await page(CONNECTED);
    at.refusal = { code: 'bad_message', error: 'Something is at work.', next: 'Wait.' };
    await user.click(await card().findByRole('button', { name: 'Publish' }));
    expect((await card().findByRole('alert')).textContent).toBe('Something is at work. Wait.');
  });

  it('stands below the result, and the head leads to it', async () => {
    const { container, user } = await page(CONNECTED);
    const card = container.querySelector('[data-publication]');
    expect(card?.previousElementSibling?.getAttribute('data-item')).toBe('result');
    await user.click(screen.getByRole('button', { name: 'Publish…' }));
    expect(document.activeElement).toBe(card);
  });
});

describe('the dialog of choices', () => {
  it('sends what was chosen, by keys alone; a bad name is not sent', async () => {
    const { at, card, user } = await page(CONNECTED);
    await user.click(await card().findByRole('button', { name: 'Options…' }));
    const dialog = within(await screen.findByRole('dialog', { name: 'Publish on GitHub' }));
    const name = dialog.getByRole('textbox', { name: /^Name/ });
    expect(document.activeElement).toBe(name);
    await user.clear(name);
    await user.type(name, 'Größe & Ertrag{Enter}');
    expect(told(at)).toEqual([]);
    expect(dialog.getByText(/suggestion: Grosse-Ertrag/)).toBeTruthy();
    await user.click(dialog.getByRole('button', { name: 'Use Grosse-Ertrag' }));
    await user.click(dialog.getByRole('radio', { name: /^Public/ }));
    await user.click(dialog.getByRole('radio', { name: /^One commit/ }));
    await accessible();
    name.focus();
    await user.keyboard('{Enter}');
    await waitFor(() =>
      expect(told(at)).toEqual([
        { owner: 'ana', name: 'Grosse-Ertrag', private: false, history: 'squashed', pullRequest: true }
      ])
    );
    expect(screen.queryByRole('dialog')).toBeNull();
  });

  it('closes on Escape, gives the focus back, and nothing else hears the key', async () => {
    const { card, user } = await page(CONNECTED, publication());
    const button = card().getByRole('button', { name: 'Options…' });
    await user.click(button);
    const dialog = within(screen.getByRole('dialog'));
    expect(dialog.queryByRole('textbox')).toBeNull(); // where it is, is settled
    expect(dialog.getByRole('radio', { name: /^As before/ })).toHaveProperty('checked', true);
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('dialog')).toBeNull();
    expect(document.activeElement).toBe(button);
  });

  it('knows which names GitHub takes', () => {
    expect(['a', 'A.b_c-9', 'x'.repeat(100)].every(legalOnGitHub)).toBe(true);
    expect(['', '.', '..', 'a b', 'ä', 'a.git', 'a.WIKI', 'x'.repeat(101)].some(legalOnGitHub)).toBe(false);
    expect(nearestName(' Élan vital! ')).toBe('Elan-vital');
  });
});

describe('a publication', () => {
  it('shows its steps as they are done, and keeps the keyboard', async () => {
    const { at, card, user } = await page(CONNECTED);
    await user.click(await card().findByRole('button', { name: 'Publish' }));
    act(() => at.event(publication({ state: 'publishing', pull: undefined, steps: steps(2) })));
    await card().findByText('Publishing on GitHub…');
    expect(card().getByText('Send the commits').closest('li')?.getAttribute('aria-current')).toBe('step');
    expect(document.activeElement?.hasAttribute('data-publication')).toBe(true);
    await accessible();
  });

  it('has its links, its state in words, and what is not sent yet', async () => {
    const checks = { ...PULL.checks, state: 'failed' as const, failed: 1 };
    const review = {
      state: 'changes_requested' as const,
      approvedBy: [],
      changesRequestedBy: ['carla']
    };
    const { at, card, asked, user } = await page(
      CONNECTED,
      publication({
        ahead: 2,
        pull: { ...PULL, checks, review, comments: 3 },
        notes: ['Pushed without CI files.']
      })
    );
    const href = (name: string) => card().getByRole('link', { name }).getAttribute('href');
    expect(href('Draft pull request #7')).toBe(PULL.url);
    expect(href('Repository')).toBe(PLACED.repository.url);
    expect(href('Branch')).toBe(PLACED.branch.url);
    expect(href('Compare')).toBe(PLACED.branch.compareUrl);
    ['1 of 2 checks failed', 'carla asked for changes', '3 comments', 'Pushed without CI files.'].forEach(
      text => expect(card().getByText(text)).toBeTruthy()
    );
    expect(card().getByText('2 commits are not published yet.')).toBeTruthy();
    await accessible();
    await user.click(card().getByRole('button', { name: 'Publish again' }));
    await waitFor(() => expect(told(at)).toEqual([{}]));
    await user.click(card().getByRole('button', { name: 'Refresh' }));
    await waitFor(() => expect(asked.map(one => one.path)).toContain(`api/chats/${ID}/publication/refresh`));
  });

  it('makes no link of an address that is none', async () => {
    const evil = 'javascript:alert(1)';
    const { container } = await page(
      CONNECTED,
      publication({
        repository: { ...PLACED.repository, name: '<b>x</b>', url: evil },
        branch: { ...PLACED.branch, url: evil, compareUrl: evil },
        pull: { ...PULL, url: evil, checks: { ...PULL.checks, url: evil } }
      })
    );
    const card = container.querySelector('[data-publication]');
    expect(card?.querySelector('a')).toBeNull();
    expect(card?.textContent).toContain('<b>x</b>');
  });
});

describe('a publication that stopped', () => {
  const ways: [string, string, object][] = [
    ['retry', 'Try again', {}],
    ['rename', 'Use the name owls-2', { name: 'owls-2' }],
    ['use_existing', 'Use the existing repository', { useExisting: true }],
    ['squash', 'Send one commit instead', { history: 'squashed' }],
    ['branch', 'Use the branch owls-2', { branch: 'owls-2' }],
    ['moved', 'Go on in owls-2', { acceptMoved: true }]
  ];
  it.each(ways)('%s is one button', async (action, name, sent) => {
    const { at, card, user } = await page(CONNECTED, failed({ actions: [action], proposal: 'owls-2' }));
    expect(card().getByText('Kept: all commits, here in reversal.')).toBeTruthy();
    await user.click(card().getByRole('button', { name }));
    await waitFor(() => expect(told(at)).toEqual([sent]));
  });

  it('overwrites only after a yes that says what is overwritten', async () => {
    const { at, card, user } = await page(
      CONNECTED,
      failed({ actions: ['branch', 'force'], proposal: 'x' }, { ...PLACED, pull: PULL })
    );
    at.answer.yes = false;
    await user.click(card().getByRole('button', { name: 'Overwrite the branch…' }));
    expect(at.questions[0]).toMatchObject({ dangerous: true });
    expect(at.questions[0]?.body).toContain(`${PLACED.branch.name} of ana/reversal is replaced`);
    expect(told(at)).toEqual([]);
    at.answer.yes = true;
    await user.click(card().getByRole('button', { name: 'Overwrite the branch…' }));
    await waitFor(() => expect(told(at)).toEqual([{ force: true }]));
  });

  it('says which file, line and step', async () => {
    const finding = {
      kind: 'secret' as const,
      path: 'notebook.py',
      text: 'This looks like a token.',
      line: 14,
      commit: 'abcdef0123',
      step: 'Load the data',
      blocking: true
    };
    const { card } = await page(CONNECTED, failed({ code: 'publish_blocked', findings: [finding] }));
    const list = within(card().getByRole('list', { name: 'What was found' }));
    expect(list.getByText('notebook.py')).toBeTruthy();
    expect(list.getByText('line 14 · step: Load the data · abcdef0')).toBeTruthy();
    await accessible();
  });

  it('cannot be tried again before the limit ends', async () => {
    const retryAt = new Date(Date.now() + 600_000).toISOString();
    const { card } = await page(CONNECTED, failed({ actions: ['retry'], retryAt, retryable: true }));
    expect(card().getByRole('button', { name: 'Try again' })).toHaveProperty('disabled', true);
    expect(card().getByText(/Possible again at .* \(in 10 min\)/)).toBeTruthy();
  });
});

describe('connecting', () => {
  const dialogOf = async (at: Bench) => {
    act(() => at.navigation.show('github'));
    return within(await screen.findByRole('dialog', { name: 'GitHub' }));
  };

  it('sends a token once and keeps it nowhere', async () => {
    const { at, asked, user } = await page(NOT_CONNECTED);
    const dialog = await dialogOf(at);
    const field = (await dialog.findByLabelText('Token')) as HTMLInputElement;
    expect([field.type, field.autocomplete]).toEqual(['password', 'off']);
    expect(dialog.queryByRole('radio')).toBeNull(); // there is only one place for it
    await accessible();
    await user.type(field, `${TOKEN}{Enter}`);
    expect(asked).toEqual([{ path: 'api/github', method: 'PUT', body: { token: TOKEN, store: 'file' } }]);
    await dialog.findByText('Connected as ana.');
    const kept = [document.body.innerHTML, JSON.stringify(at.platform.store.getState()), [...at.kept]].join();
    expect(kept).not.toContain('canary');
    expect([...document.querySelectorAll('input')].map(one => one.value).join()).not.toContain('canary');
  });

  it('says why a token is refused, and the field is empty', async () => {
    const { at, answers, user } = await page(NOT_CONNECTED);
    const dialog = await dialogOf(at);
    const field = (await dialog.findByLabelText('Token')) as HTMLInputElement;
    answers['PUT api/github'] = null;
    await user.type(field, TOKEN);
    await user.click(dialog.getByRole('button', { name: 'Connect' }));
    await dialog.findByText('No.');
    expect(field.value).toBe('');
    expect(field.getAttribute('aria-invalid')).toBe('true');
    expect(document.activeElement).toBe(field);
  });

  it('takes the keyring where there is one', async () => {
    const choices = { file: true, keyring: true, gh: { available: true, login: 'ana' } };
    const { at, asked, user } = await page({ ...NOT_CONNECTED, choices });
    const dialog = await dialogOf(at);
    await user.click(await dialog.findByRole('radio', { name: /keyring/ }));
    await user.type(dialog.getByLabelText('Or a token'), `${TOKEN}{Enter}`);
    await waitFor(() => expect(asked[0]?.body).toEqual({ token: TOKEN, store: 'keyring' }));
  });

  it('takes the login of gh where there is one', async () => {
    const choices = { file: true, keyring: false, gh: { available: true, login: 'ana' } };
    const { at, asked, user } = await page({ ...NOT_CONNECTED, choices });
    const dialog = await dialogOf(at);
    await user.click(await dialog.findByRole('button', { name: 'Use the login of gh (ana)' }));
    expect(asked[0]?.body).toEqual({ source: 'gh' });
  });

  it('shows rights in words, what is missing, and disconnects after a second click', async () => {
    const { at, asked, user } = await page(CONNECTED);
    const dialog = await dialogOf(at);
    await dialog.findByText('repo: ok');
    expect(dialog.getByText('workflow: missing')).toBeTruthy();
    expect(dialog.getByText(/pushed without CI files/)).toBeTruthy();
    await accessible();
    await user.click(dialog.getByRole('button', { name: 'Disconnect…' }));
    expect(asked).toEqual([]);
    await user.click(dialog.getByRole('button', { name: 'Disconnect' }));
    await dialog.findByText('Disconnected. The token was removed here.');
    expect(asked[0]?.method).toBe('DELETE');
  });
});

describe('comments', () => {
  it('are handed over as they were written, with a note', async () => {
    const { card, asked, user } = await page(CONNECTED, publication({ pull: { ...PULL, comments: 3 } }));
    await user.click(card().getByRole('button', { name: 'Hand to the agent…' }));
    const dialog = within(screen.getByRole('dialog'));
    const boxes = await dialog.findAllByRole('checkbox');
    expect(boxes.map(box => (box as HTMLInputElement).checked)).toEqual([true, false, false]);
    expect(dialog.getByText(/<img src=x onerror=alert\(1\)>/)).toBeTruthy();
    expect(document.querySelector('.jp-Postdoc-Comments img')).toBeNull();
    expect(dialog.getAllByRole('link')).toHaveLength(2); // javascript: is none
    await accessible();
    await user.click(boxes[1]!);
    await user.type(dialog.getByLabelText('Your note to the agent'), 'Only 5 bps.');
    await user.click(dialog.getByRole('button', { name: 'Hand over 2 comments' }));
    await waitFor(() => expect(asked[0]?.body).toEqual({ ids: ['i1', 'r2'], note: 'Only 5 bps.' }));
    await waitFor(() => expect(screen.queryByRole('dialog')).toBeNull());
  });
});

describe('the list of sessions', () => {
  it('has the pull request as a sign, a number and words', () => {
    const at = bench();
    open.push(at);
    const badge = (change: object) => {
      const published = {
        state: 'published',
        repository: 'ana/x',
        url: '',
        pull: 7,
        pullState: 'open',
        checks: '',
        ahead: 0
      };
      const info = chat({ publication: { ...published, ...change } as never });
      const { container, unmount } = render(
        <AtDesk at={at}>
          <Row
            info={info}
            domId="x"
            active={false}
            current={false}
            unread={false}
            now={0}
            template=""
            model=""
          />
        </AtDesk>
      );
      const text = container.querySelector('.jp-Postdoc-PublishBadge')?.textContent;
      unmount();
      return text;
    };
    expect(badge({ checks: 'failed' })).toBe('#7Pull request #7: checks failed');
    expect(badge({ pullState: 'merged', checks: 'failed' })).toBe('#7Pull request #7: merged');
    expect(badge({ pull: null, ahead: 1 })).toBe('publishedPublished in ana/x; 1 commit not published yet');
    expect(badge({ state: 'failed', pull: null })).toContain('everything is kept here');
  });
});
