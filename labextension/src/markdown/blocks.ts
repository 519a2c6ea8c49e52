/**
 * Markdown in blocks: paragraphs, lists, tables, code. Only the end of a text that streams in can still change, so only
 * the end is looked at again, and only blocks whose text is new are rendered again.
 */
import { Marked } from 'marked';

/** A line, not the first one, that begins a displayed formula. */
const FORMULA = /\n {0,3}(?:\$\$|\\\[|\\begin\{)/;
/** A whole one, or one that is still open; a blank line ends it in any case. */
const CLOSED =
  /^ {0,3}(?:\$\$(?:(?!\n[ \t]*\n)[^])+?\$\$|\\\[(?:(?!\n[ \t]*\n)[^])*?\\\]|\\begin\{([^{}\n]*)\}(?:(?!\n[ \t]*\n)[^])*?\\end\{\1\})[ \t]*(?:\n|$)/;
const OPEN =
  /^ {0,3}(?:\$\$(?:(?!\$\$|\n[ \t]*\n)[^])*|\\\[(?:(?!\\\]|\n[ \t]*\n)[^])*|\\begin\{(?:(?!\\end\{|\n[ \t]*\n)[^])*)(?=\n[ \t]*\n|$)/;

// A line of a formula may look like a list or a heading ("+ b", "= c"); it must not be torn apart for that.
const marked = new Marked({
  extensions: [
    {
      name: 'formula',
      level: 'block',
      start: source => {
        const at = source.search(FORMULA);
        return at < 0 ? undefined : at + 1;
      },
      tokenizer: source => {
        const raw = (CLOSED.exec(source) ?? OPEN.exec(source))?.[0];
        return raw ? { type: 'formula', raw } : undefined;
      },
      renderer: token => token.raw
    }
  ]
});

/**
 * How many blocks at the end can still become others. The last line may be unfinished: "#" after a paragraph is a
 * heading, and "#1" is not, but goes on with the paragraph; "- " even parts two lines that "- x" joins again.
 */
const UNDECIDED = 3;

/** Splits a text that grows. One per text; `split` may also be given a wholly new text. */
export class BlockSplitter {
  private source = '';
  private blocks: string[] = [];

  /**
   * The blocks of `text`; joined they are `text` (with plain line ends). They are the same for every way in which it has
   * grown.
   */
  split(text: string): readonly string[] {
    const source = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (source === this.source) {
      return this.blocks;
    }
    let kept: string[] = [];
    let rest = source;
    if (this.source !== '' && source.startsWith(this.source)) {
      kept = this.blocks.slice(0, -UNDECIDED);
      rest = source.slice(kept.reduce((sum, block) => sum + block.length, 0));
    }
    this.source = source;
    this.blocks = [...kept, ...lex(rest)];
    return this.blocks;
  }
}

/** One block per top-level token; blank lines belong to the block before them. */
function lex(source: string): string[] {
  const blocks: string[] = [];
  let at = 0;
  for (const token of marked.lexer(source)) {
    // By its length: for a single blank the lexer notes a line end instead.
    const raw = source.slice(at, at + token.raw.length);
    at += token.raw.length;
    const last = blocks.length - 1;
    if (last >= 0 && (token.type === 'space' || raw.trim() === '')) {
      blocks[last] += raw;
    } else {
      blocks.push(raw);
    }
  }
  return at === source.length ? blocks : source === '' ? [] : [source];
}
