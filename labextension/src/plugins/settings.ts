import type { JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { LiveSettings } from '../lab/settings';
import { IPostdocSettings } from '../lab/tokens';

const ID = 'jupyterlab-postdoc:settings';

/** The user's settings, kept up to date; the defaults where they cannot be read. */
export const settings: JupyterFrontEndPlugin<LiveSettings> = {
  id: ID,
  description: 'The settings of the research panel.',
  autoStart: true,
  provides: IPostdocSettings,
  optional: [ISettingRegistry],
  activate: async (_, registry: ISettingRegistry | null): Promise<LiveSettings> => {
    const live = new LiveSettings();
    if (registry !== null) {
      try {
        const loaded = await registry.load(ID);
        const update = () => live.update(loaded.composite);
        loaded.changed.connect(update);
        update();
      } catch (error) {
        console.warn('The settings of the research panel could not be read; the defaults are used.', error);
      }
    }
    return live;
  }
};
