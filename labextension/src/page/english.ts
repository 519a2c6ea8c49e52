/** English as it is written in the source; `%1` stands for the first argument, in plurals for the number. */
import type { Trans } from '../platform';

export const english: Trans = {
  __: (message, ...args) => fill(message, args),
  _n: (singular, plural, n, ...args) => fill(n === 1 ? singular : plural, [n, ...args])
};

function fill(message: string, args: readonly unknown[]): string {
  return message.replace(/%(\d)/g, (whole, n: string) => {
    const value = args[Number(n) - 1];
    return value === undefined ? whole : String(value);
  });
}

/** The reader's own English for dates and numbers: they stand in English sentences. */
export function englishOf(languages: readonly string[]): string {
  return languages.find(one => /^en\b/i.test(one)) ?? 'en';
}
