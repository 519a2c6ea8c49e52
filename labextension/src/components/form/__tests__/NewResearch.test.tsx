import { act, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React from 'react';
import { describe, expect, it } from 'vitest';

import { DRAFT_KEY } from '../draft';
import { NewResearch } from '../NewResearch';
import type { NewRoute } from '../useDraft';
import { expectAccessible, panel, templates } from './harness';
import type { Panel } from './harness';

async function open(at: Panel = panel(), route: NewRoute = { view: 'new' }) {
  const user = userEvent.setup();
  const shown = at.show(<NewResearch route={route} />);
  await waitFor(() => expect(at.platform.store.getState().connection.state).toBe('connected'));
  await waitFor(() => expect(screen.getByText(/Template script|Sonnet/)).toBeTruthy());
  return { ...at, user, ...shown };
}

const topic = () => screen.getByRole('textbox', { name: /^Topic/ });
const start = () => screen.getByRole('button', { name: /^Start(ing…)?$/ });
const options = () => screen.getByRole('button', { name: /^Options/ });

describe('a new research', () => {
  it('takes one sentence and one click', async () => {
    const { user, posts, navigation, memory } = await open();
    expect(document.activeElement).toBe(topic());
    await user.keyboard('Short Term Reversal');
    expect(screen.getByText('Template: Cross-sectional signal study')).toBeTruthy();
    await user.click(start());
    await waitFor(() => expect(navigation.get()).toEqual({ view: 'session', id: 'c_new' }));
    const [chat, research] = posts();
    expect(chat?.path).toBe('api/chats');
    expect(research?.body).toEqual({
      topic: 'Short Term Reversal',
      provider: 'template',
      budget: { usd: 5, minutes: 60 }
    });
    expect(memory.get(DRAFT_KEY)).toBeNull();
  });

  it('starts with Accel Enter, and once however often it is pressed', async () => {
    const { user, posts, navigation } = await open();
    await user.type(topic(), 'Momentum');
    await user.keyboard('{Control>}{Enter}{Enter}{/Control}{Meta>}{Enter}{/Meta}');
    await waitFor(() => expect(navigation.get().view).toBe('session'));
    expect(posts().map(one => one.path)).toEqual(['api/chats', 'api/chats/c_new/research']);
  });

  it('says what is missing and goes there', async () => {
    const { user, posts } = await open();
    await user.click(start());
    expect(document.activeElement).toBe(topic());
    expect(topic()).toHaveProperty('ariaInvalid', 'true');
    expect(describedBy(topic())).toContain('Say in a few words what to study.');
    expect(posts()).toEqual([]);
    await user.type(topic(), 'M');
    expect(topic().getAttribute('aria-invalid')).toBeNull();
  });

  it('sends what was chosen', async () => {
    const { user, posts } = await open();
    await user.type(topic(), 'Anything');
    await user.click(options());
    await user.click(screen.getByRole('radio', { name: 'Comparison of two groups' }));
    await user.click(screen.getByRole('button', { name: 'synthetic-null' }));
    await user.type(screen.getByRole('textbox', { name: 'Smallest difference that matters' }), '0.5');
    await user.type(screen.getByRole('textbox', { name: 'Seed' }), '0');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Agent' }), 'claude-sonnet-5-5');
    expect(screen.getByText('$2 in / $10 out per million tokens')).toBeTruthy();
    await user.selectOptions(screen.getByRole('combobox', { name: 'Persona' }), 'reviewer');
    await user.type(screen.getByRole('textbox', { name: 'Repository name' }), 'my-study');
    await user.clear(screen.getByRole('textbox', { name: 'Max cost, $' }));
    await user.type(screen.getByRole('textbox', { name: 'Max turns' }), '40');
    await user.click(start());
    await waitFor(() => expect(posts()).toHaveLength(2));
    expect(posts()[0]?.body).toMatchObject({ model: 'claude-sonnet-5-5', persona: 'reviewer' });
    expect(posts()[1]?.body).toEqual({
      topic: 'Anything',
      template: 'group_comparison',
      params: { data: 'synthetic-null', margin: 0.5 },
      provider: 'anthropic',
      model: 'claude-sonnet-5-5',
      repo_name: 'my-study',
      budget: { minutes: 60, turns: 40 }
    });
  });

  it('offers no model that cannot be used, and says why', async () => {
    const { user } = await open(panel({ defaultModel: 'opus' }));
    await user.click(options());
    const agent = screen.getByRole<HTMLSelectElement>('combobox', { name: 'Agent' });
    expect(agent.value).toBe('template');
    const opus = screen.getByRole<HTMLOptionElement>('option', { name: 'Claude Opus 5.5 (Not for you.)' });
    expect(opus.disabled).toBe(true);
    expect(describedBy(agent)).toContain('Ask the administrator.');
  });

  it('takes the defaults of the settings', async () => {
    const { user, posts } = await open(
      panel({
        defaultModel: 'sonnet',
        defaultPersona: 'reviewer',
        defaultTemplate: 'forecast',
        maxCostUsd: 0
      })
    );
    await user.type(topic(), 'x');
    await user.click(start());
    await waitFor(() => expect(posts()).toHaveLength(2));
    expect(posts()[0]?.body).toMatchObject({ model: 'claude-sonnet-5-5', persona: 'reviewer' });
    expect(posts()[1]?.body).toMatchObject({ template: 'forecast', budget: { minutes: 60 } });
  });

  it('checks numbers before anything is sent', async () => {
    const { user, posts } = await open();
    await user.type(topic(), 'Momentum');
    await user.click(options());
    await user.type(screen.getByRole('textbox', { name: 'Quantiles' }), '99');
    await user.click(options());
    await user.click(start());
    const field = await screen.findByRole('textbox', { name: 'Quantiles' });
    await waitFor(() => expect(document.activeElement).toBe(field));
    expect(describedBy(field)).toContain('Allowed: 2 to 20.');
    expect(posts()).toEqual([]);
  });
});

describe('refusals', () => {
  it('go to their field, keep what was typed, and a new try is the same command', async () => {
    const at = await open();
    await at.user.type(topic(), 'Momentum');
    const error = 'Parameter `lookback` of template equity_signal is 7, but must be even.';
    at.refuse({ code: 'bad_message', error, next: 'Choose an even one.', retryable: false });
    await at.user.click(start());
    const field = await screen.findByRole('textbox', { name: 'Lookback' });
    await waitFor(() => expect(document.activeElement).toBe(field));
    expect(describedBy(field)).toContain(`${error} Choose an even one.`);
    expect(at.navigation.get().view).toBe('sessions');
    await at.user.type(field, '6');
    await at.user.click(start());
    await waitFor(() => expect(at.navigation.get().view).toBe('session'));
    const keys = at.posts().map(one => one.key);
    expect(keys[2]).toBe(keys[0]);
    expect(at.posts()[3]?.body).toMatchObject({ topic: 'Momentum', params: { lookback: 6 } });
  });

  it('another persona needs another chat', async () => {
    const at = await open();
    await at.user.type(topic(), 'Momentum');
    at.refuse({ code: 'forbidden', error: 'The persona Researcher may not use shell.', next: '' }, 403);
    await at.user.click(start());
    const persona = await screen.findByRole('combobox', { name: 'Persona' });
    await waitFor(() => expect(document.activeElement).toBe(persona));
    await at.user.selectOptions(persona, 'reviewer');
    await at.user.click(start());
    await waitFor(() => expect(at.posts()).toHaveLength(4));
    expect(at.posts()[2]?.key).not.toBe(at.posts()[0]?.key);
  });

  it('with a proposal can be taken up', async () => {
    const at = await open();
    await at.user.type(topic(), 'Momentum');
    at.refuse({ code: 'github_conflict', error: 'There is one.', next: '', proposal: 'momentum-2' }, 409);
    await at.user.click(start());
    await at.user.click(await screen.findByRole('button', { name: 'Use momentum-2' }));
    expect(screen.getByRole<HTMLInputElement>('textbox', { name: 'Repository name' }).value).toBe(
      'momentum-2'
    );
    expect(screen.queryByText('There is one.')).toBeNull();
  });

  it('that belong nowhere stand above, and a lost answer keeps its key', async () => {
    const at = await open();
    await at.user.type(topic(), 'Momentum');
    at.refuse(null);
    await at.user.click(start());
    const alert = await screen.findByRole('alert');
    await waitFor(() => expect(document.activeElement).toBe(alert));
    expect(topic()).toHaveProperty('value', 'Momentum');
    await at.user.click(start());
    await waitFor(() => expect(at.posts()).toHaveLength(4));
    expect(at.posts()[3]?.key).toBe(at.posts()[1]?.key);
  });
});

describe('drafts', () => {
  it('outlive the form', async () => {
    const at = panel();
    const first = await open(at);
    await first.user.type(topic(), 'Half a thought');
    first.unmount();
    const second = await open(at);
    await waitFor(() => expect(topic()).toHaveProperty('value', 'Half a thought'));
    await second.user.click(screen.getByRole('button', { name: 'Start over' }));
    expect(topic()).toHaveProperty('value', '');
  });

  it('are put aside for a topic that comes from elsewhere, and can be brought back', async () => {
    const at = panel();
    const first = await open(at);
    await first.user.type(topic(), 'Mine');
    first.unmount();
    const { user } = await open(at, { view: 'new', topic: 'Given', key: '1' });
    await waitFor(() => expect(screen.getByText(/“Mine”/)).toBeTruthy());
    expect(topic()).toHaveProperty('value', 'Given');
    await user.click(screen.getByRole('button', { name: 'Bring it back' }));
    expect(topic()).toHaveProperty('value', 'Mine');
  });

  it('are kept without a connection, which is said', async () => {
    const at = await open();
    await act(async () => {
      at.wire.refuse = 0;
      at.wire.last.end();
      await Promise.resolve();
    });
    await waitFor(() => expect(screen.getByText(/No connection/)).toBeTruthy());
    await at.user.type(topic(), 'Later{Control>}{Enter}{/Control}');
    expect(start()).toHaveProperty('disabled', true);
    expect(at.posts()).toEqual([]);
    await waitFor(() => expect(at.memory.get(DRAFT_KEY)).toMatchObject({ topic: 'Later' }));
  });
});

describe('context', () => {
  it('is added, shown, removed, and sent below the topic', async () => {
    const at = panel({}, { context: () => ({ label: 'Selection', text: 'a = 1\nb = 2' }) });
    const route: NewRoute = { view: 'new', context: [{ label: 'notes.md', text: 'notes.md' }] };
    const { user, posts } = await open(at, route);
    await user.type(topic(), 'Momentum');
    await user.click(screen.getByRole('button', { name: 'Add current selection' }));
    expect(screen.getAllByRole('listitem')).toHaveLength(2);
    await user.click(screen.getByRole('button', { name: 'Remove notes.md' }));
    await user.click(start());
    await waitFor(() => expect(posts()).toHaveLength(2));
    expect(posts()[0]?.body).toMatchObject({ title: 'Momentum' });
    expect(posts()[1]?.body).toMatchObject({
      topic: 'Momentum\n\nContext:\nSelection:\na = 1\nb = 2',
      template: 'equity_signal'
    });
  });

  it('a data file becomes the data of the template', async () => {
    const route: NewRoute = { view: 'new', context: [{ label: 'r.csv', text: 'data/r.csv' }] };
    const { user, posts } = await open(panel(), route);
    await user.type(topic(), 'Momentum');
    expect(screen.getByText('as the data')).toBeTruthy();
    await user.click(start());
    await waitFor(() => expect(posts()).toHaveLength(2));
    expect(posts()[1]?.body).toMatchObject({ topic: 'Momentum', params: { data: 'data/r.csv' } });
  });

  it('that is too long is said at once', async () => {
    const route: NewRoute = {
      view: 'new',
      topic: 'T',
      context: [{ label: 'long', text: 'x\n'.repeat(1000) }]
    };
    const { user, posts } = await open(panel(), route);
    await user.click(start());
    expect(describedBy(topic())).toMatch(/Topic and context have 20\d\d characters; 2000 are possible/);
    expect(posts()).toEqual([]);
  });
});

it('a data file is picked where the platform can', async () => {
  const at = panel({}, { pickFile: () => Promise.resolve('data/x.csv') });
  const { user } = await open(at);
  await user.type(topic(), 'Momentum');
  await user.click(options());
  await user.click(screen.getByRole('button', { name: 'Browse for Data…' }));
  expect(screen.getByRole('textbox', { name: 'Data' })).toHaveProperty('value', 'data/x.csv');
});

it('is accessible: folded, unfolded with each template, and with complaints', async () => {
  const { user } = await open();
  await expectAccessible();
  await user.click(options());
  for (const template of templates) {
    await user.click(screen.getByRole('radio', { name: template.title }));
  }
  await user.click(start());
  await expectAccessible();
});

function describedBy(element: HTMLElement): string {
  const ids = element.getAttribute('aria-describedby')?.split(' ') ?? [];
  return ids.map(id => document.getElementById(id)?.textContent ?? '?').join(' ');
}
