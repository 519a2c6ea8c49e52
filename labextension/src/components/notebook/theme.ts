/** Whether what is around an element is dark: a page from elsewhere is to look like it. */
import type { RefObject } from 'react';
import { useEffect, useState } from 'react';

/** Whether a colour as `getComputedStyle` gives it is dark; null for one that says nothing. */
export function isDark(color: string): boolean | null {
  const parts = color.match(/[\d.]+/g)?.map(Number) ?? [];
  const [r, g, b, alpha = 1] = parts;
  if (r === undefined || g === undefined || b === undefined || alpha === 0 || !color.startsWith('rgb')) {
    return null;
  }
  return 0.2126 * r + 0.7152 * g + 0.0722 * b < 128;
}

function around(element: HTMLElement | null): boolean {
  for (let at = element ?? document.body; at !== null; at = at.parentElement as HTMLElement) {
    const dark = isDark(getComputedStyle(at).backgroundColor);
    if (dark !== null) {
      return dark;
    }
  }
  return matchMedia('(prefers-color-scheme: dark)').matches;
}

/** Kept up to date when JupyterLab's theme, the page's or the system's changes. */
export function useDark(host: RefObject<HTMLElement>): boolean {
  const [dark, setDark] = useState(() => around(host.current));
  useEffect(() => {
    const look = () => setDark(around(host.current));
    look();
    const system = matchMedia('(prefers-color-scheme: dark)');
    system.addEventListener('change', look);
    const observer = new MutationObserver(look);
    observer.observe(document.body, { attributes: true });
    observer.observe(document.documentElement, { attributes: true });
    return () => {
      system.removeEventListener('change', look);
      observer.disconnect();
    };
  }, [host]);
  return dark;
}
