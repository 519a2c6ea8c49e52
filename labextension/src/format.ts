/** Numbers, times and amounts as a person reads them. */
import type { Trans } from './platform';

/** Milliseconds as m:ss, from an hour on as h:mm:ss. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, '0');
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** Milliseconds in words: "0.4 s", "41 s", "12 min", "3 h 5 min". */
export function duration(ms: number, trans: Trans): string {
  if (ms < 950) {
    return trans.__('%1 s', (Math.max(0, ms) / 1000).toFixed(1));
  }
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) {
    return trans.__('%1 s', seconds);
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) {
    return trans.__('%1 min', minutes);
  }
  return trans.__('%1 h %2 min', Math.floor(minutes / 60), minutes % 60);
}

/** US dollars; "" when unknown. Amounts below a cent keep two significant digits, so that none looks free. */
export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined || !Number.isFinite(usd)) {
    return '';
  }
  if (usd > 0 && usd < 0.01) {
    return `$${Number(usd.toPrecision(2))}`;
  }
  return `$${usd.toFixed(2)}`;
}

/** A count in short: 950, 12.3k, 1.2M. */
export function count(n: number, language: string): string {
  return new Intl.NumberFormat(locale(language), { notation: 'compact', maximumFractionDigits: 1 }).format(n);
}

const STEPS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 365 * 86_400_000],
  ['month', 30 * 86_400_000],
  ['week', 7 * 86_400_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000]
];

/** How long ago: "now", "5 minutes ago", "yesterday". Both in milliseconds. */
export function relative(at: number, now: number, language: string): string {
  const format = new Intl.RelativeTimeFormat(locale(language), { numeric: 'auto' });
  const past = now - at;
  for (const [unit, size] of STEPS) {
    if (Math.abs(past) >= size) {
      return format.format(-Math.trunc(past / size), unit);
    }
  }
  return format.format(0, 'second');
}

/** Date and time in the user's language. */
export function dateTime(at: number, language: string): string {
  return new Intl.DateTimeFormat(locale(language), { dateStyle: 'medium', timeStyle: 'short' }).format(at);
}

/** The time of day in the user's language. */
export function timeOfDay(at: number, language: string): string {
  return new Intl.DateTimeFormat(locale(language), { timeStyle: 'short' }).format(at);
}

/** The first line that says something, cut to `max` characters with an ellipsis. */
export function firstLine(text: string, max = 160): string {
  const line = text.trimStart().split('\n', 1)[0]?.trimEnd() ?? '';
  return line.length > max ? `${line.slice(0, max - 1).trimEnd()}…` : line;
}

/** A language tag that Intl takes; JupyterLab writes "de_DE", and "default" for English. */
function locale(language: string): string | undefined {
  const tag = language.replace('_', '-');
  try {
    return Intl.getCanonicalLocales(tag)[0];
  } catch {
    return undefined;
  }
}
