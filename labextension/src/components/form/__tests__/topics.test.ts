import { describe, expect, it } from 'vitest';

import { candidates, freeName, isDataFile, legalName, slugOf } from '../topics';
import { templates } from './harness';

const fits = (topic: string) => candidates(topic, templates as never).map(template => template.name);

describe('which template a topic fits', () => {
  it.each([
    ['Short Term Reversal', ['equity_signal']],
    ['momentums', ['equity_signal']],
    ['Forecast of CO2', ['forecast']],
    ['profile a table', ['dataset_profile']],
    ['cooking', []],
    ['', []]
  ])('%s', (topic, expected) => {
    expect(fits(topic)).toEqual(expected);
  });

  it('names all that fit equally well', () => {
    expect(fits('momentum forecast')).toEqual(['equity_signal', 'forecast']);
  });
});

describe('the name made of a topic', () => {
  it.each([
    ['Short Term Reversal', 'short-term-reversal'],
    ["Fama's  factors, 1963–2020!", 'famas-factors-1963-2020'],
    ['Übergröße & Łódź', 'ubergrosse-lodz'],
    ['動量', null],
    ['con', null],
    ['…', null],
    ['a'.repeat(100), 'a'.repeat(80)],
    [`${'word '.repeat(30)}`, 'word-'.repeat(16).slice(0, 79)]
  ])('%s', (topic, expected) => {
    expect(slugOf(topic)).toBe(expected);
  });

  it('avoids what is taken', () => {
    expect(freeName('a', new Set())).toBe('a');
    expect(freeName('a', new Set(['a', 'a-2']))).toBe('a-3');
    expect(freeName('b'.repeat(80), new Set(['b'.repeat(80)]))).toBe(`${'b'.repeat(78)}-2`);
  });

  it('knows what is legal', () => {
    expect(['a', 'a-1', '1a'].every(legalName)).toBe(true);
    expect(['', '-a', 'A', 'a b', 'nul', 'a'.repeat(81)].some(legalName)).toBe(false);
  });
});

it('a data file is told by its name', () => {
  expect(['a.csv', 'x/y.PARQUET', 'my table.xlsx'].every(isDataFile)).toBe(true);
  expect(['a.py', 'x = 1\ny.csv', '.csv'].map(isDataFile)).toEqual([false, false, false]);
});
