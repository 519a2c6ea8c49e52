import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';

import { badge } from '../components/sessions/order';
import { openNotebooks } from '../lab/autoOpen';
import { rememberRoute } from '../lab/remember';
import { Commands, IPostdoc, IPostdocPanel, PANEL_ID } from '../lab/tokens';
import { PostdocView } from '../lab/view';

const RANK = 850;
/** In the document it is data-postdoc-badge: Lumino takes the name as it is. */
const BADGE = 'postdoc-badge';

/** The panel in the sidebar, with a badge: how many sessions need the user. */
export const panel: JupyterFrontEndPlugin<PostdocView> = {
  id: 'jupyterlab-postdoc:panel',
  description: 'The research panel in the sidebar.',
  autoStart: true,
  provides: IPostdocPanel,
  requires: [IPostdoc, IRenderMimeRegistry],
  activate: (app: JupyterFrontEnd, postdoc: IPostdoc, rendermime: IRenderMimeRegistry): PostdocView => {
    const { platform, places, navigation, store, trans } = postdoc;
    const view = new PostdocView({ platform, rendermime, places, navigation });
    view.id = PANEL_ID;
    view.title.caption = trans.__('Research');
    view.node.setAttribute('role', 'region');
    view.node.setAttribute('aria-label', trans.__('Research'));

    place(app, view, postdoc);
    void rememberRoute(navigation, platform.memory);
    if (postdoc.hasTabs) {
      openNotebooks(postdoc, session => {
        app.commands.execute(Commands.openLiveNotebook, { session }).catch(error => console.warn(error));
      });
    }

    let count = 0;
    store.subscribe(() => {
      const now = badge(store.getState());
      if (now === count) {
        return;
      }
      count = now;
      const { [BADGE]: _, ...dataset } = view.title.dataset as Record<string, string>;
      view.title.dataset = now > 0 ? { ...dataset, [BADGE]: now > 99 ? '99+' : String(now) } : dataset;
      view.title.caption =
        now > 0
          ? trans._n('Research: %1 session needs you', 'Research: %1 sessions need you', now, now)
          : trans.__('Research');
    });
    return view;
  }
};

/**
 * Put the panel on the side that the setting names. Where it was restored to (somebody may have moved it with
 * JupyterLab's own menu) is left alone, unless the setting has changed since it was last applied in this workspace.
 */
function place(app: JupyterFrontEnd, view: PostdocView, { settings, platform: { memory } }: IPostdoc): void {
  let side = settings.get().side;
  const put = () => {
    const shown = view.isVisible;
    app.shell.add(view, side, { rank: RANK });
    if (shown) {
      app.shell.activateById(PANEL_ID);
    }
    void memory.set('side', side);
  };
  app.shell.add(view, side, { rank: RANK });
  void app.restored.then(async () => {
    const applied = (await memory.get('side')) ?? 'left';
    if (applied !== side) {
      put();
    }
    settings.subscribe(() => {
      const wanted = settings.get().side;
      if (wanted !== side) {
        side = wanted;
        put();
      }
    });
  });
}
