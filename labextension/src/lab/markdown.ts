/** Markdown as JupyterLab shows it (its highlighting, formulas and diagrams), sanitised by our own rules. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { activate, sanitize } from '../markdown/sanitize';
import type { Markdown } from '../platform';

const MARKDOWN = 'text/markdown';

/** A renderer of its own kind beside the one of the notebooks: no command links, no ids, no image without a click. */
export function createLabMarkdown(rendermime: IRenderMimeRegistry): Markdown {
  const registry = rendermime.clone({
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
        activate(renderer.node, activation);
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
