/** Markdown where there is no JupyterLab: marked, DOMPurify, and Temml for formulas (fetched when there is one). */
import type { TokenizerAndRendererExtension, Tokens } from 'marked';
import { Marked } from 'marked';

import type { Markdown } from '../platform';
import { activate, sanitize } from './sanitize';

interface Formula extends Tokens.Generic {
  tex: string;
  display: boolean;
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escape = (text: string) => text.replace(/[&<>"]/g, char => escapes[char] ?? char);
const CLASS = 'jp-Postdoc-Formula';

function formula(
  name: string,
  level: 'block' | 'inline',
  rule: RegExp,
  display: boolean
): TokenizerAndRendererExtension {
  return {
    name,
    level,
    // A paragraph is interrupted only by a line that begins a formula, never within a line.
    start: source => {
      const at = source.search(level === 'block' ? /\n(?:\$\$|\\\[)/ : /\$|\\[([]/);
      return at < 0 ? undefined : level === 'block' ? at + 1 : at;
    },
    tokenizer(source) {
      const match = rule.exec(source);
      return match ? { type: name, raw: match[0], tex: match[1] ?? match[2] ?? '', display } : undefined;
    },
    renderer: token =>
      `<span class="${CLASS}${(token as Formula).display ? ' jp-mod-display' : ''}">${escape((token as Formula).tex)}</span>`
  };
}

const marked = new Marked({
  gfm: true,
  extensions: [
    formula('blockFormula', 'block', /^(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])(?:\n|$)/, true),
    formula('displayFormula', 'inline', /^(?:\$\$([^$]+?)\$\$|\\\[([\s\S]+?)\\\])/, true),
    formula(
      'inlineFormula',
      'inline',
      /^(?:\$(?!\s)((?:\\.|[^$\\\n])+?)(?<!\s)\$(?!\d)|\\\(([\s\S]+?)\\\))/,
      false
    )
  ]
});

/** The page's renderer. */
export function createPageMarkdown(): Markdown {
  return {
    render(host, source, activation) {
      let alive = true;
      host.innerHTML = sanitize(marked.parse(source, { async: false }));
      activate(host, activation);
      const formulas = Array.from(host.querySelectorAll<HTMLElement>(`.${CLASS}`));
      const ready = formulas.length > 0 ? typeset(formulas, () => alive) : Promise.resolve();
      return {
        ready,
        dispose: () => {
          alive = false;
        }
      };
    }
  };
}

async function typeset(formulas: readonly HTMLElement[], wanted: () => boolean): Promise<void> {
  const { default: temml } = await import('temml');
  if (!wanted()) {
    return;
  }
  for (const node of formulas) {
    const displayMode = node.classList.contains('jp-mod-display');
    const tex = node.textContent ?? '';
    try {
      temml.render(tex, node, { displayMode, throwOnError: false, trust: false });
    } catch {
      node.textContent = tex; // one that cannot be set is shown as it was written, and keeps none of the others back
    }
  }
}
