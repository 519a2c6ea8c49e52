import { describe, expect, it } from 'vitest';

import { createPageMarkdown } from '../page';

// jsdom knows MathML as plain elements, without a style.
Object.defineProperty(Element.prototype, 'style', { configurable: true, get: () => ({}) });

async function shown(source: string): Promise<HTMLElement> {
  const host = document.createElement('div');
  await createPageMarkdown().render(host, source, { loadImage: name => name }).ready;
  return host;
}

describe('markdown of the page', () => {
  it('sets formulas as MathML', async () => {
    for (const source of [
      'is $x^2$ so',
      'is \\(x^2\\) so',
      '$$\nx^2\n+ y\n$$',
      '\\[\nx^2\n\\]\n',
      'Sum:\n$$x^2$$\nend'
    ]) {
      const host = await shown(source);
      expect(host.querySelectorAll('math'), source).toHaveLength(1);
      expect(host.querySelector('msup'), source).not.toBeNull();
      expect(host.querySelector('li'), source).toBeNull();
    }
  });

  it('leaves amounts of money and code alone', async () => {
    for (const source of [
      'It costs $5, or $6.',
      'a$5b',
      'from $ 1 to $ 2',
      '`$x$`',
      '```\n$$x$$\n```',
      'US$5 and US$6'
    ]) {
      const host = await shown(source);
      expect(host.querySelector('math'), source).toBeNull();
      expect(host.textContent?.trim(), source).toBe(source.replaceAll(/^```\n|\n```$|`/g, ''));
    }
  });

  it('survives wrong and hostile formulas', async () => {
    const host = await shown(
      '$\\frac{$ and $\\href{javascript:alert(1)}{x}$ and $\\includegraphics{http://evil.example/x}$'
    );
    expect(host.querySelector('a[href^="javascript"], img, script')).toBeNull();
    expect(host.innerHTML).not.toMatch(/href="javascript|src=/);
    expect((await shown('$<img src=x onerror=alert(1)>$')).querySelector('img')).toBeNull();
  });

  it('renders text, tables and code without harm', async () => {
    const host = await shown(
      '# T\n\n<img src=x onerror=alert(1)>\n\n| a |\n|---|\n| 1 |\n\n```py\nx < 1\n```\n'
    );
    expect(host.querySelector('[onerror], img[src]')).toBeNull();
    expect(host.querySelector('td')?.textContent).toBe('1');
    expect(host.querySelector('pre code')?.textContent).toBe('x < 1\n');
  });
});
