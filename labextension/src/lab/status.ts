/** What the status bar says. */
import { Signal } from '@lumino/signaling';
import { Widget } from '@lumino/widgets';

import { listed } from '../components/sessions/order';
import { money } from '../format';
import type { State } from '../model';
import type { Trans } from '../platform';
import type { Store } from '../store';
import { isBusy } from './notices';

/** "⚙ 2 running · $1.20"; "" when nothing runs. The amount is what the running sessions have cost so far. */
export function statusLine(state: State, trans: Trans): string {
  const running = listed(state.sessions).filter(isBusy);
  if (running.length === 0) {
    return '';
  }
  const costs = running.flatMap(session => (session.cost === null ? [] : [session.cost]));
  const spent = costs.length === 0 ? '' : money(costs.reduce((sum, cost) => sum + cost, 0));
  const text = trans._n('%1 running', '%1 running', running.length, running.length);
  return `⚙ ${text}${spent === '' ? '' : ` · ${spent}`}`;
}

/** A button in the status bar. */
export class StatusItem extends Widget {
  readonly activeChanged = new Signal<this, void>(this);
  private readonly button: HTMLButtonElement;
  private readonly unsubscribe: () => void;
  private text = '';

  constructor(store: Store, trans: Trans, onClick: () => void) {
    super();
    this.addClass('jp-PostdocStatus');
    this.button = document.createElement('button');
    this.button.type = 'button';
    this.button.title = trans.__('Open the research panel');
    this.button.addEventListener('click', onClick);
    this.node.appendChild(this.button);
    this.unsubscribe = store.subscribe(() => this.refresh(statusLine(store.getState(), trans)));
  }

  get isActive(): boolean {
    return this.text !== '';
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.unsubscribe();
      Signal.clearData(this);
      super.dispose();
    }
  }

  private refresh(text: string): void {
    if (text === this.text) {
      return;
    }
    const turned = (text === '') !== (this.text === '');
    this.text = text;
    this.button.textContent = text;
    if (turned) {
      this.activeChanged.emit();
    }
  }
}
