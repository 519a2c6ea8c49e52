/** Names of repositories on GitHub. */

/** What GitHub takes as it is; anything else it would change silently. */
export function legalOnGitHub(name: string): boolean {
  return /^[A-Za-z0-9._-]{1,100}$/.test(name) && !/^\.{1,2}$/.test(name) && !/\.(git|wiki)$/i.test(name);
}

const LETTERS: Record<string, string> = {
  ß: 'ss',
  ẞ: 'SS',
  æ: 'ae',
  Æ: 'Ae',
  ø: 'o',
  Ø: 'O',
  œ: 'oe',
  Œ: 'Oe',
  ł: 'l',
  Ł: 'L',
  đ: 'd',
  Đ: 'D'
};

/** The nearest name that GitHub takes; "" when nothing of it is left. */
export function nearestName(name: string): string {
  return name
    .replace(/[ßẞæÆøØœŒłŁđĐ]/g, letter => LETTERS[letter] ?? letter)
    .normalize('NFKD')
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/\.(git|wiki)$/i, '')
    .replace(/^[-.]+|[-.]+$/g, '')
    .slice(0, 100);
}
