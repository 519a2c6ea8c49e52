import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Route } from '../../navigation';
import { Navigation } from '../../navigation';
import { begin, follow, pathOf, rootOf, routeOf } from '../address';

const ROOT = '/user/ana/postdoc/';

describe('the address of a view', () => {
  const views: [Route, string][] = [
    [{ view: 'sessions' }, ''],
    [{ view: 'session', id: 'c_1f' }, 's/c_1f'],
    [{ view: 'session', id: 'a/b ?#%' }, 's/a%2Fb%20%3F%23%25'],
    [{ view: 'notebook', id: 'c_1f' }, 'notebook/c_1f'],
    [{ view: 'new' }, 'new'],
    [{ view: 'rooms' }, 'rooms'],
    [{ view: 'rooms', room: 'the desk' }, 'rooms/the%20desk'],
    [{ view: 'rooms', room: '*' }, 'rooms/*']
  ];

  it.each(views)('%j is at "%s", and back', (route, path) => {
    expect(pathOf(route)).toBe(path);
    expect(routeOf(path)).toEqual(route);
    expect(routeOf(`/${path}/`)).toEqual(route);
  });

  it.each(['s', 's/', 's/%E0%A4%A', 'notebook/', 'settings', '../..', 'S/c1'])('"%s" is the list', path => {
    expect(routeOf(path)).toEqual({ view: 'sessions' });
  });

  it('is below the base address, as the browser writes it', () => {
    expect(rootOf('/')).toBe('/postdoc/');
    expect(rootOf('/user/ana')).toBe('/user/ana/postdoc/');
    expect(rootOf('/user/ana@x.org è/')).toBe('/user/ana@x.org%20%C3%A8/postdoc/');
  });
});

describe('the address bar', () => {
  let leave = () => {};
  let navigation: Navigation;

  beforeEach(() => window.history.replaceState(null, '', ROOT));
  afterEach(() => leave());

  const start = (path: string) => {
    window.history.replaceState(null, '', ROOT + path);
    navigation = new Navigation(begin(ROOT));
    leave = follow(navigation, ROOT);
  };
  const back = async () => {
    const gone = new Promise(resolve => window.addEventListener('popstate', resolve, { once: true }));
    window.history.back();
    await gone;
  };

  it('opens the view that it names', () => {
    start('s/c7');
    expect(navigation.get()).toEqual({ view: 'session', id: 'c7' });
  });

  it('becomes that of the list when it names nothing', () => {
    start('nonsense/c7');
    expect(window.location.pathname).toBe(ROOT);
  });

  it('goes along, and back', async () => {
    start('');
    const before = window.history.length;
    navigation.go({ view: 'session', id: 'c1' });
    navigation.go({ view: 'session', id: 'c1' });
    expect(window.location.pathname).toBe(`${ROOT}s/c1`);
    navigation.go({ view: 'rooms', room: 'desk' });
    expect(window.location.pathname).toBe(`${ROOT}rooms/desk`);
    expect(window.history.length).toBe(before + 2); // the same view twice is one entry
    await back();
    expect(navigation.get()).toEqual({ view: 'session', id: 'c1' });
    await back();
    expect(navigation.get()).toEqual({ view: 'sessions' });
  });

  it('has the values of a form again when somebody comes back to it', async () => {
    start('');
    const form: Route = { view: 'new', topic: 'Does it pay?', template: 'equity_signal', key: 'k1' };
    navigation.go(form);
    navigation.go({ view: 'session', id: 'c1' });
    await back();
    expect(navigation.get()).toEqual(form);
  });

  it('counts more than what the entry remembers', () => {
    window.history.replaceState({ postdoc: { view: 'session', id: 'other' } }, '', `${ROOT}s/c1`);
    expect(begin(ROOT)).toEqual({ view: 'session', id: 'c1' });
  });

  it('is left alone afterwards', () => {
    start('');
    leave();
    navigation.go({ view: 'new' });
    expect(window.location.pathname).toBe(ROOT);
  });
});
