import { screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React from 'react';
import { afterEach, describe, expect, it } from 'vitest';

import { NewResearch } from '../NewResearch';
import type { Panel } from './harness';
import { expectAccessible, panel } from './harness';

const open: Panel[] = [];
afterEach(() => open.splice(0).forEach(one => one.platform.client.dispose()));

const repository = (id: string, name: string) => ({
  id,
  name,
  host: 'github.com',
  url: `https://github.com/${name}.git`,
  webUrl: `https://github.com/${name}`,
  defaultBranch: 'main',
  private: true,
  createdAt: '2026-11-21T09:00:00Z',
  sessions: 1,
  mayPush: true
});

/** The form with its options open, on a server with these repositories. */
async function form(...names: string[]) {
  const at = panel();
  open.push(at);
  let repositories = names.map((name, index) => repository(`repo_${index}`, name));
  const { rest } = at.wire;
  at.wire.rest = (path, init) => {
    const method = init?.method ?? 'GET';
    const id = /^api\/repos\/(repo_.*)$/.exec(path)?.[1];
    if (path === 'api/repos' && method === 'POST') {
      const { repository: name } = JSON.parse(String(init?.body)) as { repository: string };
      repositories = [...repositories, repository('repo_new', name)];
      return repositories[repositories.length - 1]!;
    }
    if (id !== undefined && method === 'DELETE') {
      repositories = repositories.filter(one => one.id !== id);
      return {};
    }
    if (path.startsWith('api/repos/available')) {
      const found = {
        ...repository('', 'ana/<b>data</b>'),
        description: 'Prices',
        pushedAt: null,
        registered: null
      };
      return path.endsWith('query=prices') ? [found] : [];
    }
    return path === 'api/repos' ? repositories : rest(path, init);
  };
  at.show(<NewResearch route={{ view: 'new', topic: 'Does momentum pay?', key: '1' }} />);
  const user = userEvent.setup();
  await user.click(screen.getByRole('button', { name: /^Options/ }));
  const where = await screen.findByRole('combobox', { name: 'Where' });
  return { at, user, where };
}

const started = (at: Panel) => at.posts().find(one => one.path.endsWith('/research'))?.body;

describe('where a research is done', () => {
  it('is a new repository, unless one is chosen; then no name is asked for', async () => {
    const { at, user, where } = await form('ana/markets');
    expect(screen.getByRole('textbox', { name: 'Repository name' })).toBeTruthy();
    await user.type(screen.getByRole('textbox', { name: 'Repository name' }), 'my-name');
    await user.selectOptions(where, 'In ana/markets');
    expect(screen.queryByRole('textbox', { name: 'Repository name' })).toBeNull();
    await expectAccessible();
    await user.click(screen.getByRole('button', { name: 'Start' }));
    await waitFor(() => expect(started(at)).toMatchObject({ repository: 'repo_0' }));
    expect(started(at)).not.toHaveProperty('repo_name');
  });

  it('sends no repository for a new one', async () => {
    const { at, user } = await form('ana/markets');
    await user.click(screen.getByRole('button', { name: 'Start' }));
    await waitFor(() => expect(started(at)).toBeDefined());
    expect(started(at)).not.toHaveProperty('repository');
  });

  it('finds a repository on GitHub, adds and chooses it', async () => {
    const { user, where } = await form();
    await user.click(screen.getByRole('button', { name: 'Add or remove repositories…' }));
    const dialog = within(screen.getByRole('dialog', { name: 'Repositories' }));
    await user.keyboard('prices{Enter}');
    await user.click(await dialog.findByRole('button', { name: 'Add ana/<b>data</b>' }));
    await waitFor(() => expect(where).toHaveProperty('value', 'repo_new'));
    expect(screen.queryByRole('dialog')).toBeNull();
  });

  it('takes an address, and forgets one that is taken off the list', async () => {
    const { user, where } = await form('ana/markets');
    await user.selectOptions(where, 'In ana/markets');
    await user.click(screen.getByRole('button', { name: 'Add or remove repositories…' }));
    const dialog = within(screen.getByRole('dialog', { name: 'Repositories' }));
    await user.click(dialog.getByRole('button', { name: 'Remove ana/markets from this list' }));
    await dialog.findByText(/None yet/);
    expect(where).toHaveProperty('value', '');
    await expectAccessible();
    await user.type(dialog.getByRole('textbox'), 'https://example.org/a/b.git');
    await user.click(dialog.getByRole('button', { name: 'Add https://example.org/a/b.git' }));
    await waitFor(() => expect(where).toHaveProperty('value', 'repo_new'));
  });
});
