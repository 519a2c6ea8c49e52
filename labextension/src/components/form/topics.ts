/** What a topic leads to: a template, and a name for the repository. Both are previews; the server decides. */
import type { Template } from '../../client';

/** Lower-case words without the plural's s, as the server compares them. */
function wordsOf(text: string): Set<string> {
  const words = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return new Set(words.map(word => (word.length > 3 && /[^s]s$/.test(word) ? word.slice(0, -1) : word)));
}

/** Words of the longest keyword of the template that the topic has, and words of all of them. */
function score(topic: string, template: Template): [number, number] {
  const words = wordsOf(topic);
  const found = template.topics
    .map(keyword => [keyword, wordsOf(keyword)] as const)
    .filter(
      ([keyword, parts]) =>
        parts.size > 0 &&
        ([...parts].every(part => words.has(part)) ||
          // Scripts written without spaces have no words to compare.
          (/[^\x00-\x7f]/.test(keyword) && topic.toLowerCase().includes(keyword.toLowerCase())))
    )
    .map(([, parts]) => parts.size);
  return [Math.max(0, ...found), found.reduce((sum, size) => sum + size, 0)];
}

/** The templates that fit a topic best: one, several that fit equally well, or none. */
export function candidates(topic: string, templates: readonly Template[]): Template[] {
  const scored = templates.map(template => ({ template, score: score(topic, template) }));
  const [longest, all] = scored.reduce<[number, number]>(
    (top, { score: [a, b] }) => (a > top[0] || (a === top[0] && b > top[1]) ? [a, b] : top),
    [0, 0]
  );
  return longest === 0
    ? []
    : scored.filter(one => one.score[0] === longest && one.score[1] === all).map(one => one.template);
}

const MAX_NAME = 80;
const RESERVED = /^(con|nul|prn|aux|(com|lpt)[1-9])$/;
// Letters that Unicode does not take apart into a Latin letter and a mark.
const LATIN: Readonly<Record<string, string>> = {
  ß: 'ss',
  æ: 'ae',
  œ: 'oe',
  ø: 'o',
  đ: 'd',
  ð: 'd',
  þ: 'th',
  ł: 'l',
  ı: 'i'
};

/**
 * The name that the server makes of a topic; null when only the server can tell (other scripts than Latin, or nothing
 * that a name could be made of).
 */
export function slugOf(topic: string): string | null {
  const plain = topic
    .toLowerCase()
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[ßæœøđðþłı]/g, letter => LATIN[letter] ?? letter)
    .replace(/['‘’ʼ]/g, '');
  if (/[^\x00-\x7f]/.test(plain.replace(/[\p{P}\p{Z}]/gu, ' '))) {
    return null;
  }
  const words = plain.match(/[a-z0-9]+/g) ?? [];
  let slug = '';
  for (const word of words) {
    const longer = slug === '' ? word : `${slug}-${word}`;
    if (longer.length > MAX_NAME) {
      break;
    }
    slug = longer;
  }
  slug = slug || (words[0] ?? '').slice(0, MAX_NAME);
  return slug === '' || RESERVED.test(slug) ? null : slug;
}

/** May a repository be called so? */
export function legalName(name: string): boolean {
  return /^[a-z0-9][a-z0-9-]{0,79}$/.test(name) && !RESERVED.test(name);
}

/** Would a template that takes a data file read this? */
export function isDataFile(path: string): boolean {
  return /^[^\n]+\.(csv|tsv|parquet|xlsx)$/i.test(path.trim());
}

/** The first of `name`, `name-2` … `name-9` that is not taken; null when all are. */
export function freeName(name: string, taken: ReadonlySet<unknown>): string | null {
  for (let n = 1; n < 10; n++) {
    const suffix = n === 1 ? '' : `-${n}`;
    const variant = name.slice(0, MAX_NAME - suffix.length).replace(/-+$/, n === 1 ? '$&' : '') + suffix;
    if (!taken.has(variant)) {
      return variant;
    }
  }
  return null;
}
