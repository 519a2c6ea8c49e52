/**
 * Text that people have to be able to trust: what an agent wrote must not look like something else than it is, nor
 * change the order of the words around it.
 */

// Escape sequences of terminals: colours and cursor (CSI), titles and links (OSC and its like), and all others.
const ESCAPES =
  /\u001b\[[0-?]*[ -/]*[@-~]|\u001b[\]PX^_][^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c|$)|\u009b[0-?]*[ -/]*[@-~]|\u001b[ -/]*[0-~]?/g;
// Control characters, and those that turn the direction of text or cannot be seen at all.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** A title or another line of words: on one line, and what cannot be seen is not there. */
export function plainLine(text: string): string {
  return text.replace(ESCAPES, '').replace(/\s+/g, ' ').replace(HIDDEN, '').trim();
}

/** What a program has written, as a terminal would leave it: no escape sequences, and a line written over is the last one. */
export function plainOutput(text: string): string {
  if (!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(text)) {
    return text;
  }
  return text
    .replace(ESCAPES, '')
    .split('\n')
    .map(line => {
      const written = line.replace(/\r+$/, '');
      return written.slice(written.lastIndexOf('\r') + 1);
    })
    .join('\n')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}

/** What somebody is asked to allow: every character that could hide or reorder something is shown by its number. */
export function exposed(text: string): string {
  return text.replace(
    HIDDEN,
    char => `⟨U+${(char.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0')}⟩`
  );
}
