/**
 * The widget of a notebook cell: one card with the last status of a session, in Jupyter and in marimo. Plain DOM. The
 * kernel keeps `status` up to date; this draws it.
 */
import './follow.css';
import { createCard } from './card';
import type { Status } from './text';

interface Model {
  get(name: 'status'): Status | undefined;
  on(event: 'change:status', listener: () => void): void;
  off(event: 'change:status', listener: () => void): void;
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const card = createCard();
  const draw = () => {
    const status = model.get('status');
    if (typeof status?.chat === 'string') {
      card.update(status, Date.now() / 1000);
      if (card.element.parentNode !== el) {
        el.replaceChildren(card.element);
      }
    }
  };
  model.on('change:status', draw);
  draw();
  // Between two news only the clock goes on.
  const timer = window.setInterval(() => card.tick(Date.now() / 1000), 1000);
  return () => {
    window.clearInterval(timer);
    model.off('change:status', draw);
  };
}

export default { render };
