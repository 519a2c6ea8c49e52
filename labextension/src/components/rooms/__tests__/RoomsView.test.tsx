import { act, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React from 'react';
import { describe, expect, it } from 'vitest';

import { useRoute } from '../../../navigation';
import { expectAccessible, panel } from '../../form/__tests__/harness';
import { RoomsView } from '../RoomsView';

const T = '2026-11-21T09:00:0';

function Routed(): JSX.Element {
  const route = useRoute();
  return <RoomsView room={route.view === 'rooms' ? route.room : undefined} />;
}

async function open(room?: string, rooms: string[] = ['lab', 'general']) {
  const at = panel();
  const rest = at.wire.rest;
  at.wire.rest = (path, init) =>
    path === 'api/rooms'
      ? rooms.map((name, i) => ({
          room: name,
          id: `room:${name}`,
          messages: at.wire.logs.get(`room:${name}`)?.length ?? 0,
          last: `${T}${9 - i}Z`
        }))
      : rest(path, init);
  const say = (where: string, agent: string, kind: string, content: string) =>
    at.wire.happen(
      { type: 'user_message', id: `${where}${Math.random()}`, content, by: 'x', agent, kind },
      `room:${where}`
    );
  say('lab', 'codex', 'status', 'All **green**');
  say('lab', 'claude', 'question', 'From 1963?');
  say('lab', 'codex', 'result', 'Done');
  say('general', 'ada', 'deploy', 'Released');
  at.navigation.go({ view: 'rooms', room });
  const user = userEvent.setup();
  const shown = at.show(<Routed />);
  await waitFor(() => expect(at.platform.store.getState().connection.state).toBe('connected'));
  return { ...at, say, user, ...shown };
}

const texts = () => screen.getAllByRole('article').map(one => one.textContent);

describe('rooms', () => {
  it('are listed with what is new, and opened by the keyboard', async () => {
    const { user, memory } = await open();
    const rows = () => within(screen.getByRole('list', { name: 'Rooms' })).getAllByRole('button');
    await waitFor(() => expect(rows()).toHaveLength(3));
    expect(rows()[1]?.textContent).toContain('3 new');
    rows()[0]?.focus();
    await user.keyboard('{ArrowDown}');
    expect(document.activeElement).toBe(rows()[1]);
    await user.keyboard('{Enter}');
    await waitFor(() => expect(texts()).toHaveLength(3));
    await user.click(screen.getByRole('button', { name: 'All rooms and new ones' }));
    await waitFor(() => expect(rows()[1]?.textContent).not.toContain('new'));
    expect(memory.get('rooms.seen')).toEqual({ lab: 3 });
  });

  it('show what is said, live, as markdown', async () => {
    const { say } = await open('lab');
    await waitFor(() => expect(texts()).toHaveLength(3));
    expect(screen.getByText('green').tagName).toBe('STRONG');
    await act(async () => {
      say('lab', 'ada', 'blocker', '<img src=x onerror=alert(1)>');
      await Promise.resolve();
    });
    await waitFor(() => expect(screen.getByRole('article', { name: 'Blocker from ada' })).toBeTruthy());
    expect(document.querySelector('[onerror]')).toBeNull();
  });

  it('are filtered by agent and kind, which is remembered', async () => {
    const { user, memory } = await open('lab');
    await waitFor(() => expect(texts()).toHaveLength(3));
    await user.click(screen.getByRole('button', { name: 'Filter' }));
    await user.click(screen.getByRole('button', { name: /^codex ?2$/ }));
    expect(texts()).toHaveLength(2);
    await user.click(screen.getByRole('button', { name: /^Result ?1$/ }));
    expect(texts()).toHaveLength(1);
    expect(screen.getByText('1 of 3')).toBeTruthy();
    expect(memory.get('rooms.filters')).toEqual({ agents: ['codex'], kinds: ['result'] });
    await expectAccessible();
    await user.click(screen.getByRole('button', { name: 'Show all' }));
    expect(texts()).toHaveLength(3);
  });

  it('come together by time', async () => {
    const { user, say, navigation } = await open('*');
    await waitFor(() => expect(texts()).toHaveLength(4));
    await act(async () => {
      say('lab', 'z', 'note', 'last');
      await Promise.resolve();
    });
    await waitFor(() => expect(texts().at(-1)).toContain('last'));
    await user.click(screen.getByRole('button', { name: 'general' }));
    expect(navigation.get()).toEqual({ view: 'rooms', room: 'general' });
  });

  it('take messages: Enter sends, Shift Enter does not', async () => {
    const { user, wire } = await open('lab');
    await waitFor(() => expect(texts()).toHaveLength(3));
    await user.selectOptions(screen.getByRole('combobox', { name: 'Kind of message' }), 'question');
    const box = screen.getByRole('textbox', { name: 'Message to lab' });
    await user.type(box, 'one{Shift>}{Enter}{/Shift}two{Enter}');
    await waitFor(() => expect(box).toHaveProperty('value', ''));
    const post = wire.last.sent.filter(frame => frame.type === 'post');
    expect(post).toMatchObject([{ chatId: 'room:lab', agent: 'Ana', kind: 'question', content: 'one\ntwo' }]);
  });

  it('keep a message that is refused', async () => {
    const { user } = await open('lab');
    await waitFor(() => expect(texts()).toHaveLength(3));
    const box = screen.getByRole('textbox', { name: 'Message to lab' });
    await user.type(box, 'refuse me{Enter}');
    expect((await screen.findByRole('alert')).textContent).toContain('Eight messages wait already.');
    expect(box).toHaveProperty('value', 'refuse me');
  });

  it('are made by a name and a first message', async () => {
    const { user, wire, say } = await open();
    const name = await screen.findByRole('textbox', { name: 'Name of a new room' });
    await user.type(name, 'a/b{Enter}');
    expect(screen.getByRole('alert').textContent).toContain('A name has up to 59');
    await user.clear(name);
    await user.type(name, 'fresh{Enter}');
    await waitFor(() => expect(screen.getByText('Nothing has been said here yet.')).toBeTruthy());
    expect(screen.getByText(/jupyter postdoc post fresh/)).toBeTruthy();
    expect(document.body.textContent).not.toMatch(/token=|token [a-z0-9]/i);
    await expectAccessible();
    say('fresh', 'Ana', 'note', 'Hello'); // what the server makes of the first message
    await user.type(screen.getByRole('textbox', { name: 'Message to fresh' }), 'Hello{Enter}');
    await waitFor(() => expect(texts()).toHaveLength(1));
    expect(wire.last.sent.filter(frame => frame.type === 'post')).toHaveLength(1);
  });

  it('that do not exist yet explain themselves', async () => {
    await open(undefined, []);
    await waitFor(() => expect(screen.getByText('No rooms yet.')).toBeTruthy());
    await expectAccessible();
  });

  it('that cannot be listed say why', async () => {
    const at = panel();
    at.wire.rest = () => null;
    at.show(<RoomsView />);
    expect((await screen.findByRole('alert')).textContent).toContain('The rooms could not be loaded: No.');
  });
});
