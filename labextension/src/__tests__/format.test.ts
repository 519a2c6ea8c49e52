import { describe, expect, it } from 'vitest';

import { clock, count, duration, firstLine, money, relative } from '../format';
import { safeUrl } from '../links';
import type { Trans } from '../platform';

const trans: Trans = {
  __: (text, ...args) => text.replace(/%(\d)/g, (_, n) => String(args[Number(n) - 1])),
  _n: (one, many, n) => (n === 1 ? one : many).replace('%1', String(n))
};

describe('times', () => {
  it.each([
    [0, '0:00'],
    [65_400, '1:05'],
    [3_725_000, '1:02:05'],
    [-5, '0:00']
  ])('%d ms is %s on the clock', (ms, text) => expect(clock(ms)).toBe(text));

  it.each([
    [400, '0.4 s'],
    [41_200, '41 s'],
    [89_600, '2 min'],
    [720_000, '12 min'],
    [11_100_000, '3 h 5 min']
  ])('%d ms lasts %s', (ms, text) => expect(duration(ms, trans)).toBe(text));

  it('says how long ago, in the language of the user', () => {
    const now = Date.UTC(2026, 10, 21, 12);
    expect(relative(now - 20_000, now, 'en')).toBe('now');
    expect(relative(now - 5 * 60_000, now, 'en')).toBe('5 minutes ago');
    expect(relative(now - 26 * 3_600_000, now, 'en')).toBe('yesterday');
    expect(relative(now - 5 * 60_000, now, 'de_DE')).toBe('vor 5 Minuten');
    expect(relative(now - 5 * 60_000, now, 'no such language')).toContain('5');
  });
});

describe('amounts', () => {
  it('never shows a cost as free', () => {
    expect(money(0.84)).toBe('$0.84');
    expect(money(0.00123)).toBe('$0.0012');
    expect(money(0)).toBe('$0.00');
    expect(money(null)).toBe('');
    expect(money(NaN)).toBe('');
  });

  it('counts in short', () => {
    expect(count(950, 'en')).toBe('950');
    expect(count(12_345, 'en')).toBe('12.3K');
  });

  it('cuts a first line', () => {
    expect(firstLine('\n  one\ntwo')).toBe('one');
    expect(firstLine('abcdefgh', 5)).toBe('abcd…');
  });
});

describe('safeUrl', () => {
  it.each(['https://example.org/a?b=c', 'http://127.0.0.1:8888/x', 'mailto:ana@example.org'])(
    'takes %s',
    url => expect(safeUrl(url)).toBe(url)
  );

  it.each([
    'javascript:alert(1)',
    'java\tscript:alert(1)',
    '  javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:http://x/1',
    '/relative',
    'https://',
    '',
    null
  ])('refuses %s', url => expect(safeUrl(url)).toBeNull());
});
