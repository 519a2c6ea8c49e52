/** Markdown as JupyterLab shows it (its highlighting and formulas), sanitised by our own rules. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { EXTERNAL, safeUrl } from '../links';
import { activate, sanitize } from '../markdown/sanitize';
import type { Markdown } from '../platform';

const MARKDOWN = 'text/markdown';

/** The word that makes a diagram of a code block; nothing but blanks may stand between it and the fence. */
const DIAGRAM = /([`~]{3}[^\S\n]*)mermaid/g;

/**
 * JupyterLab draws diagrams in the open page, before anything is sanitised, and Mermaid fetches the images that a
 * diagram names. So they stay code here: JupyterLab's word for them is spelt with a small letter.
 */
function withoutDiagrams(source: string): string {
  return source.replace(DIAGRAM, '$1Mermaid');
}

/** A renderer of its own kind beside the one of the notebooks: no command links, no ids, no image without a click. */
export function createLabMarkdown(rendermime: IRenderMimeRegistry): Markdown {
  const parser = rendermime.markdownParser;
  const registry = rendermime.clone({
    ...(parser ? { markdownParser: { render: async text => parser.render(withoutDiagrams(text)) } } : {}),
    sanitizer: {
      sanitize: dirty => sanitize(dirty),
      getAutolink: () => true,
      allowNamedProperties: false,
      allowCommandLinker: false
    }
  });
  return {
    render(host, source, activation) {
      const renderer = registry.createRenderer(MARKDOWN);
      const model = registry.createModel({ data: { [MARKDOWN]: source }, trusted: false });
      let alive = true;
      const ready = renderer.renderModel(model).then(() => {
        if (!alive) {
          return;
        }
        // The marks beside headings would change the address of the whole application.
        renderer.node.querySelectorAll('a.jp-InternalAnchorLink').forEach(mark => mark.remove());
        activate(renderer.node, activation);
        ['click', 'auxclick'].forEach(kind => renderer.node.addEventListener(kind, follow, true));
        host.replaceChildren(renderer.node);
        // Formulas are set when a renderer is attached; this one hangs in React's tree, not in Lumino's.
        MessageLoop.sendMessage(renderer, Widget.Msg.AfterAttach);
      });
      return {
        ready,
        dispose: () => {
          alive = false;
          if (renderer.isAttached) {
            // It may be out of the page by now, and Lumino would refuse to take it out once more.
            MessageLoop.sendMessage(renderer, Widget.Msg.BeforeDetach);
            MessageLoop.sendMessage(renderer, Widget.Msg.AfterDetach);
          }
          renderer.dispose();
        }
      };
    }
  };
}

/** Formulas are set after all else, and may hold links ("\\href"): these too open elsewhere, not in place of the page. */
function follow(event: Event): void {
  const link = event.target instanceof Element ? event.target.closest('mjx-container a') : null;
  if (link === null) {
    return;
  }
  if (safeUrl(link.getAttribute('href')) === null) {
    event.preventDefault();
    return;
  }
  link.setAttribute('target', EXTERNAL.target);
  link.setAttribute('rel', EXTERNAL.rel);
}
