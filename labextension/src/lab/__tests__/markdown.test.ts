import { RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import { marked } from 'marked';
import { afterEach, describe, expect, it, vi } from 'vitest';

import { createLabMarkdown } from '../markdown';

const typeset = vi.fn();
const markdown = createLabMarkdown(
  new RenderMimeRegistry({
    initialFactories: standardRendererFactories,
    latexTypesetter: { typeset },
    markdownParser: { render: async source => await marked.parse(source) }
  })
);

const host = document.createElement('div');
const render = (source: string) =>
  markdown.render(host, source, { loadImage: name => `Load image from ${name}` });

afterEach(() => {
  host.remove();
  typeset.mockClear();
});

describe('markdown in JupyterLab', () => {
  it('is rendered again and again in the same place, as a text that streams in is', async () => {
    document.body.append(host);
    let before: { dispose(): void } | null = null;
    for (const source of ['**a', '**a**', '**a** and $b$']) {
      const view = render(source);
      await view.ready;
      before?.dispose();
      before = view;
    }
    expect(host.querySelector('strong')?.textContent).toBe('a');
    expect(host.children).toHaveLength(1);
    before?.dispose();
  });

  it('lets go of what is out of the page already, and of what was never in it', async () => {
    document.body.append(host);
    const view = render('text');
    await view.ready;
    host.remove();
    expect(() => view.dispose()).not.toThrow();
    const early = render('never shown');
    early.dispose();
    await early.ready;
    expect(host.textContent).not.toContain('never shown');
  });

  it('sets formulas', async () => {
    document.body.append(host);
    const view = render('is $x^2$');
    await view.ready;
    await vi.waitFor(() => expect(typeset).toHaveBeenCalled());
    view.dispose();
  });

  it('takes no command, no script, no image from elsewhere, no id', async () => {
    document.body.append(host);
    const view = render(
      '# Head\n\n<a id=x data-commandlinker-command="x" href="javascript:alert(1)" onclick="alert(1)">l</a>\n' +
        '<img src="http://evil.example/x.png" onerror="alert(1)"> ![p](http://evil.example/y.png)\n\n<script>alert(1)</script>'
    );
    await view.ready;
    expect(
      host.querySelector('script, [onclick], [onerror], [data-commandlinker-command], #x, img')
    ).toBeNull();
    expect(host.querySelector('a[href^="javascript"]')).toBeNull();
    expect(host.querySelectorAll('button.jp-Postdoc-LoadImage')).toHaveLength(2);
    view.dispose();
  });

  it('draws no diagrams: they are drawn in the open page, and fetch what they name', async () => {
    const seen: string[] = [];
    const own = createLabMarkdown(
      new RenderMimeRegistry({
        initialFactories: standardRendererFactories,
        markdownParser: {
          render: async source => {
            marked.walkTokens(marked.lexer(source), token => {
              if (token.type === 'code') {
                seen.push(String(token.lang));
              }
            });
            return await marked.parse(source);
          }
        }
      })
    );
    const sources = [
      '```mermaid\ngraph TD\n```',
      '- a\n\n  ~~~~ \u00a0mermaid \n  graph TD\n  ~~~~\n',
      '> > ```\u2028mermaid\n> > graph TD\n> > ```'
    ];
    for (const source of sources) {
      const view = own.render(host, source, { loadImage: name => name });
      await view.ready;
      expect(host.textContent).toContain('graph TD');
      view.dispose();
    }
    expect(seen).toHaveLength(3);
    expect(seen).not.toContain('mermaid');
  });

  it('has no marks beside headings, and opens the links of formulas elsewhere', async () => {
    document.body.append(host);
    const view = render('# Head\n\n$\\href{https://example.com}{x}$');
    await view.ready;
    expect(host.querySelector('h1')?.textContent).toBe('Head');
    // What MathJax makes of it, after all else.
    const formula = document.createElement('mjx-container');
    formula.innerHTML = '<a href="https://example.com/"><b>x</b></a><a href="lab?reset"><i>y</i></a>';
    host.querySelector('p')?.replaceChildren(formula);
    const ended = vi.fn((event: Event) => event.preventDefault());
    host.addEventListener('click', ended);
    formula.querySelector('b')?.click();
    expect(formula.querySelector('a')?.target).toBe('_blank');
    expect(formula.querySelector('a')?.rel).toContain('noopener');
    const inner = new MouseEvent('click', { bubbles: true, cancelable: true });
    host.removeEventListener('click', ended);
    formula.querySelector('i')?.dispatchEvent(inner);
    expect(inner.defaultPrevented).toBe(true);
    view.dispose();
  });
});
