/** The views: loaded when the panel is first shown, so that JupyterLab's start does not wait for them. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import React from 'react';
import { createRoot } from 'react-dom/client';

import { App } from '../components/App';
import type { Navigation } from '../navigation';
import type { Platform } from '../platform';
import { createLabMarkdown } from './markdown';
import type { LabPlatform } from './platform';

/** Show the views in `host`; call the result to take them away. */
export function mount(
  host: HTMLElement,
  base: LabPlatform,
  rendermime: IRenderMimeRegistry,
  navigation: Navigation
): () => void {
  // What the platform can do changes with what is open (getters): it is inherited, not copied.
  const platform = Object.create(base, {
    markdown: { value: createLabMarkdown(rendermime), enumerable: true }
  }) as Platform;
  const root = createRoot(host);
  root.render(<App platform={platform} navigation={navigation} />);
  return () => root.unmount();
}
