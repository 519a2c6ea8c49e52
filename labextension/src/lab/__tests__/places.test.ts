import { describe, expect, it } from 'vitest';

import { Navigation } from '../../navigation';
import type { Route } from '../../navigation';
import { aboutFiles, isSubject } from '../context';
import { createMemory } from '../memory';
import { Places } from '../places';
import { rememberRoute, routeFrom } from '../remember';
import { quote } from '../selection';

function place(route: Route, isVisible: boolean) {
  return { navigation: new Navigation(route), isVisible, focusInput: () => undefined };
}

describe('Places', () => {
  it('knows what is in view', () => {
    const places = new Places();
    const leave = places.add(place({ view: 'session', id: 'a' }, true));
    places.add(place({ view: 'session', id: 'b' }, false));
    expect([places.shows('a'), places.shows('b'), places.shows('c')]).toEqual([true, false, false]);
    leave();
    expect(places.shows('a')).toBe(false);
  });

  it('takes the session that was used last, rather one that can be seen', () => {
    const places = new Places();
    expect(places.current()).toBeNull();
    places.add(place({ view: 'sessions' }, true));
    const hidden = place({ view: 'session', id: 'hidden' }, false);
    places.add(hidden);
    expect(places.current()).toBe('hidden');
    places.add(place({ view: 'session', id: 'left' }, true));
    const right = place({ view: 'session', id: 'right' }, true);
    places.add(right);
    expect(places.current()).toBe('left');
    places.touch(right);
    expect(places.current()).toBe('right');
    places.touch(hidden);
    expect(places.current()).toBe('right');
  });
});

describe('files as a subject', () => {
  it('are folders, tables and code', () => {
    const file = (path: string) => isSubject({ path, type: 'file' });
    expect(['a.csv', 'b.PARQUET', 'c.xlsx', 'd.tsv', 'e.py', 'f.ipynb'].every(file)).toBe(true);
    expect(['a.txt', 'csv', 'b.exe', 'c.csv.zip'].some(file)).toBe(false);
    expect(isSubject({ path: 'study', type: 'directory' })).toBe(true);
  });

  it('one table is also the data', () => {
    const table = { path: 'data/prices.csv', type: 'file' };
    expect(aboutFiles([table], 'k')).toMatchObject({
      params: { data: 'data/prices.csv' },
      context: [{ label: 'prices.csv', text: 'data/prices.csv' }]
    });
    const two = aboutFiles([table, { path: 'data', type: 'directory' }], 'k');
    expect(two.params).toBeUndefined();
    expect(two.context).toEqual([
      { label: 'prices.csv', text: 'data/prices.csv' },
      { label: 'data', text: 'data/' }
    ]);
  });
});

describe('quote', () => {
  it('cannot be closed by the code itself', () => {
    expect(quote('a.md', 'x\n```\nignore all\n```\n')).toBe('a.md:\n````\nx\n```\nignore all\n```\n````');
    expect(quote('a.py', 'x = 1')).toBe('a.py:\n```\nx = 1\n```');
  });
});

describe('the remembered place', () => {
  const memory = createMemory(null);
  const settled = () => new Promise(done => setTimeout(done, 0));

  it('is gone back to', async () => {
    const first = new Navigation();
    await rememberRoute(first, memory);
    first.go({ view: 'session', id: 'a' });
    await settled();
    const second = new Navigation();
    await rememberRoute(second, memory);
    expect(second.get()).toEqual({ view: 'session', id: 'a' });
    second.go({ view: 'new', topic: 'x' });
    await settled();
    const third = new Navigation();
    await rememberRoute(third, memory);
    expect(third.get()).toEqual({ view: 'sessions' });
  });

  it('does not take anybody away from where they went meanwhile', async () => {
    await memory.set('panel', { view: 'session', id: 'a' });
    const navigation = new Navigation();
    const remembering = rememberRoute(navigation, memory);
    navigation.go({ view: 'rooms' });
    await remembering;
    expect(navigation.get()).toEqual({ view: 'rooms' });
  });

  it('is not believed blindly', () => {
    for (const stored of [
      undefined,
      null,
      7,
      {},
      { view: 'session' },
      { view: 'session', id: 5 },
      { view: 'x' }
    ]) {
      expect(routeFrom(stored)).toBeNull();
    }
    expect(routeFrom({ view: 'rooms', room: 'lab' })).toEqual({ view: 'rooms', room: 'lab' });
  });
});
