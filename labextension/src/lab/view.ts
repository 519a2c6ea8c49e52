/** A widget that shows the panel's views. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { UUID } from '@lumino/coreutils';
import type { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { Navigation } from '../navigation';
import { postdocIcon } from '../icons';
import type { Place, Places } from './places';
import type { LabPlatform } from './platform';

export interface ViewOptions {
  readonly platform: LabPlatform;
  readonly rendermime: IRenderMimeRegistry;
  readonly places: Places;
  readonly navigation?: Navigation;
  /** Names a tab over reloads; "" or none: a new name. */
  readonly key?: string;
}

/** Code for the views is fetched, and React started, when the widget is shown for the first time. */
export class PostdocView extends Widget implements Place {
  readonly navigation: Navigation;
  readonly key: string;
  private unmount: (() => void) | null = null;
  private mounting = false;
  private readonly leave: () => void;

  constructor(private readonly options: ViewOptions) {
    super();
    this.navigation = options.navigation ?? new Navigation();
    this.key = options.key || UUID.uuid4();
    this.addClass('jp-PostdocView');
    this.node.tabIndex = -1;
    this.title.icon = postdocIcon;
    this.leave = options.places.add(this);
    const touch = () => options.places.touch(this);
    this.node.addEventListener('focusin', touch);
    this.node.addEventListener('pointerdown', touch);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.leave();
      this.unmount?.();
      this.unmount = null;
      super.dispose();
    }
  }

  /** The session shown, or "". */
  get session(): string {
    const route = this.navigation.get();
    return route.view === 'session' ? route.id : '';
  }

  /** The field where a person writes, if there is one on the screen. */
  focusInput(): void {
    const field = this.node.querySelector<HTMLElement>('textarea:not(:disabled)');
    (field ?? this.node).focus();
  }

  protected override onAfterShow(_: Message): void {
    this.options.places.touch(this);
    void this.mount();
  }

  protected override onAfterAttach(_: Message): void {
    if (this.isVisible) {
      void this.mount();
    }
  }

  protected override onActivateRequest(_: Message): void {
    void this.mount();
    if (!this.node.contains(document.activeElement)) {
      this.node.focus({ preventScroll: true });
    }
  }

  private async mount(): Promise<void> {
    if (this.mounting || this.isDisposed) {
      return;
    }
    this.mounting = true;
    const { platform, rendermime } = this.options;
    try {
      const { mount } = await import('./mount');
      if (!this.isDisposed) {
        this.unmount = mount(this.node, platform, rendermime, this.navigation);
      }
    } catch (error) {
      this.mounting = false; // shown again, it is tried again
      console.error(error);
      this.node.textContent = platform.trans.__('The panel could not be loaded. Reload the page.');
    }
  }
}
