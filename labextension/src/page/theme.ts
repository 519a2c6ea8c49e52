/** Light or dark: as the system has it, or as the reader chose on this page. */

export const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

/** What was stored, or `auto` for anything that is no theme. */
export function themeOf(value: unknown): Theme {
  return THEMES.find(theme => theme === value) ?? 'auto';
}

/** Show the page in a theme. The style sheet goes by `data-theme`; without it, by the system. */
export function applyTheme(theme: Theme): void {
  const root = document.documentElement;
  if (theme === 'auto') {
    delete root.dataset.theme;
  } else {
    root.dataset.theme = theme;
  }
}
