import { describe, expect, it } from 'vitest';

import { BlockSplitter } from '../blocks';

const once = (source: string) => new BlockSplitter().split(source);

/** Texts in which the end of a line decides what the line before it was. */
const TEXTS = [
  'para\n#hash, not a heading\n\n# A heading\ntext\n***bold*** goes on\n\n***\nend',
  'A\n```x`y` no fence\n\n```py\nx = 1\n\n\n# no heading\n- no list\n```\nafter\n\n~~~\nnever closed\n',
  '- a\n- b\n\n  c\n\n      code\n\n- d\n1. x\n2. y\n   - z\n\nend',
  '| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3\n\nx | y\n-|-\nz | w\nend\n\ntext | no table\n',
  'before\n<div>\n<p>hi\n\n</div>\n\n<details><summary>s</summary>\n\ninside\n\n</details>\nend',
  '[a]: http://x.example\n"title"\n\n[a] b\n\n[c]: http://y.example\n\nend',
  'head\n===\nfoo\n---\nbar\n\n---\n\n> q\nlazy\n\n> r\n- s\n',
  '    code\n\n    more\npara\n\n\n\n    again\n\ta tab\n\n\n',
  'The sum:\n$$\na\n+ b\n- c\n= d\n$$\nis $x$ and $$y$$ inline, \\(z\\) too.\n\n\\[\nx\n= y\n\\]\ntail\n\n$$ never closed\n\n- list',
  '\\begin{align}\na &= b \\\\\n- c\n\\end{align}\n\nIt costs $5, or $6.\n$$\n\n$$$\n',
  '1. one\n\n   ```\n   code\n   ```\n\n2. two\n\n\n3. three\n\nA line  \nwith breaks\\\nand more\n\n* * *\n- - -\n',
  'Ein Satz – “quoted” 你好 👩‍🔬.\n\n\n\n   \nfoo\n  \n'
];

describe('the blocks of a text', () => {
  it.each(TEXTS)('are the same however it has come: %j', text => {
    for (const size of [1, 2, 3, 5, 17]) {
      const splitter = new BlockSplitter();
      for (let at = size; at < text.length + size; at += size) {
        const so = text.slice(0, at);
        const blocks = splitter.split(so);
        expect(blocks.join('')).toBe(so);
        expect(blocks).toEqual(once(so));
      }
    }
  });

  it('are the same for texts that nobody thought of', () => {
    const parts = [
      ...['a', 'b c', '#', '# ', '-', '- ', '1. ', '> ', '```', '$$', '\\[', '\\]', '|', '---', '===', '***'],
      ...['\n', '\n', '\n\n', '  ', '    ', '<div>', '</div>', '[x]: y', '~~~', '+ ', '`', '!', '*', '_', ':']
    ];
    let seed = 7;
    const random = (n: number) => (seed = (seed * 48271) % 2147483647) % n;
    for (let run = 0; run < 400; run++) {
      const pieces = Array.from({ length: 4 + random(24) }, () => parts[random(parts.length)] as string);
      const splitter = new BlockSplitter();
      let so = '';
      for (const piece of pieces) {
        so += piece;
        const blocks = splitter.split(so);
        expect(blocks.join(''), JSON.stringify(so)).toBe(so);
        expect(blocks, JSON.stringify(so)).toEqual(once(so));
      }
    }
  });

  it('keep a formula, a fence, a table and a list in one piece', () => {
    expect(once('Sum:\n$$\na\n+ b\n\n$$\n')[0]).toBe('Sum:\n');
    expect(once('Sum:\n$$\na\n+ b\n= c\n$$\nend')).toEqual(['Sum:\n', '$$\na\n+ b\n= c\n$$\n', 'end']);
    expect(once('```\na\n\n# b\n```\n\nc')).toEqual(['```\na\n\n# b\n```\n\n', 'c']);
    expect(once('- a\n\n- b\n\nc')).toEqual(['- a\n\n- b\n\n', 'c']);
    expect(once('|a|\n|-|\n|1|\n\nc')).toEqual(['|a|\n|-|\n|1|\n\n', 'c']);
  });

  it('take a text that is another one', () => {
    const splitter = new BlockSplitter();
    splitter.split('one\n\ntwo\n\nthree');
    expect(splitter.split('two\n\nfour')).toEqual(['two\n\n', 'four']);
    expect(splitter.split('')).toEqual([]);
  });

  it('cost what the end of the text costs', () => {
    const para =
      'Some words of a paragraph that is as long as paragraphs are, with **bold** and `code` in it.\n\n';
    const growing = (paragraphs: number) => {
      const splitter = new BlockSplitter();
      const head = para.repeat(paragraphs);
      splitter.split(head);
      const from = performance.now();
      for (let i = 1; i <= 300; i++) {
        splitter.split(head + 'word '.repeat(i));
      }
      return performance.now() - from;
    };
    growing(10);
    // The fastest of three: another program may have the processor for a while.
    const best = (paragraphs: number) => Math.min(...[1, 2, 3].map(() => growing(paragraphs)));
    const short = best(10);
    const long = best(2000);
    expect(long).toBeLessThan(short * 20 + 150); // lexing all of it each time takes several hundred times as long
  });
});
