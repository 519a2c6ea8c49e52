import { describe, expect, it } from 'vitest';

import { exposed, plainLine, plainOutput } from '../plain';

describe('a title', () => {
  it('turns nothing around and hides nothing', () => {
    expect(plainLine('invoice\u202Egnp.exe')).toBe('invoicegnp.exe');
    expect(plainLine('\u2066a\u2069\u200b b\ufeff \u{e0041}c')).toBe('a b c');
    expect(plainLine('a\nb\u2028 c\u0000')).toBe('a b c');
    expect(plainLine('\u001b[31mred\u001b[0m \u001b]8;;https://evil.example\u0007link')).toBe('red link');
  });

  it('keeps the scripts and signs of all languages', () => {
    for (const text of ['مرحبا بالعالم', 'क्‍ष', '👩‍🔬 研究', 'naïve – “quoted”']) {
      expect(plainLine(text)).toBe(text);
    }
  });
});

describe('the output of a program', () => {
  it('is what a terminal would show at the end', () => {
    expect(plainOutput('\u001b[1;32mok\u001b[0m\tdone\n')).toBe('ok\tdone\n');
    expect(plainOutput('10%\r50%\r100%\nnext\r\nlast\r\r\n')).toBe('100%\nnext\nlast\n');
    expect(plainOutput('50%\r')).toBe('50%');
    expect(plainOutput('\u001b]0;title\u0007a\u0008b\u009b31mc')).toBe('abc');
  });

  it('costs no more than its length', () => {
    const began = performance.now();
    plainOutput(
      `${'\u001b]'.repeat(50_000)}${'x\r'.repeat(50_000)}\n${'y'.repeat(1_000_000)}${'\u001b['.repeat(50_000)}`
    );
    expect(performance.now() - began).toBeLessThan(1000);
  });
});

describe('what somebody is asked to allow', () => {
  it('shows what could hide or reorder it', () => {
    expect(exposed('rm \u202Etxt.a\u202C -rf\u200b\u001b[8m')).toBe(
      'rm ⟨U+202E⟩txt.a⟨U+202C⟩ -rf⟨U+200B⟩⟨U+001B⟩[8m'
    );
    expect(exposed('line\n\tline é 研究')).toBe('line\n\tline é 研究');
  });
});
