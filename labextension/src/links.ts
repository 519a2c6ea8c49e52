/** Addresses that come from agents, tools and files. */

const SAFE = new Set(['http:', 'https:', 'mailto:']);
// Browsers drop these inside of a scheme, so that "java\tscript:" would run.
const CONTROL = /[\u0000-\u0020\u007f-\u009f]/g;

/** The address when a click on it can do no harm (http, https, mailto, absolute), else null. */
export function safeUrl(text: string | null | undefined): string | null {
  if (!text) {
    return null;
  }
  try {
    const url = new URL(text.replace(CONTROL, ''));
    return SAFE.has(url.protocol) && (url.protocol === 'mailto:' || url.hostname !== '') ? url.href : null;
  } catch {
    return null; // relative, or no address at all
  }
}

/** What every link that leaves the page needs. */
export const EXTERNAL = { target: '_blank', rel: 'noopener noreferrer' } as const;
