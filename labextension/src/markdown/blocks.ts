/**
 * Markdown in blocks: paragraphs, lists, tables, code. Only the last block of a text that streams in can still change,
 * so only that one is looked at again, and only that one is rendered again.
 */
import { marked } from 'marked';

/** Splits a text that grows. One per text; `split` may also be given a wholly new text. */
export class BlockSplitter {
  private source = '';
  private blocks: string[] = [];

  /** The blocks of `source`; joined they are `source`. Finished blocks are the same strings as before. */
  split(source: string): readonly string[] {
    if (source === this.source) {
      return this.blocks;
    }
    let kept: string[] = [];
    let rest = source;
    if (this.source !== '' && source.startsWith(this.source)) {
      kept = this.blocks.slice(0, -1);
      rest = source.slice(kept.reduce((sum, block) => sum + block.length, 0));
    }
    this.source = source;
    this.blocks = [...kept, ...lex(rest)];
    return this.blocks;
  }
}

/** One block per top-level token; blank lines belong to the block before them, so that the last one stays open. */
function lex(source: string): string[] {
  const blocks: string[] = [];
  let length = 0;
  for (const token of marked.lexer(source)) {
    length += token.raw.length;
    if (token.type === 'space' && blocks.length > 0) {
      blocks[blocks.length - 1] += token.raw;
    } else {
      blocks.push(token.raw);
    }
  }
  // The lexer puts tabs and line ends in order; what it made is of use only while it is the same text.
  return length === source.length && blocks.join('') === source ? blocks : source === '' ? [] : [source];
}
