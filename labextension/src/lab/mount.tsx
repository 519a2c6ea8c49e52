/** The views: loaded when the panel is first shown, so that JupyterLab's start does not wait for them. */
import type { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import React from 'react';
import { createRoot } from 'react-dom/client';

import { App } from '../components/App';
import { ConnectionBanner } from '../components/frame/ConnectionBanner';
import { ErrorBoundary } from '../components/frame/ErrorBoundary';
import { NotebookView } from '../components/notebook';
import type { Navigation } from '../navigation';
import { NavigationProvider } from '../navigation';
import type { Platform } from '../platform';
import { PlatformProvider } from '../platform';
import { createLabMarkdown } from './markdown';
import type { LabPlatform } from './platform';

/** Show the views in `host`; call the result to take them away. */
export function mount(
  host: HTMLElement,
  base: LabPlatform,
  rendermime: IRenderMimeRegistry,
  navigation: Navigation
): () => void {
  const root = createRoot(host);
  root.render(<App platform={platformOf(base, rendermime)} navigation={navigation} />);
  return () => root.unmount();
}

export interface NotebookMount {
  readonly session: string;
  /** The cell to bring into view. */
  readonly cell: string;
  /** The panel's: what leads to another session leads there. */
  readonly navigation: Navigation;
  readonly onSession: () => void;
}

export interface MountedNotebook {
  /** Bring another cell into view. */
  goTo(cell: string): void;
  dispose(): void;
}

/** Show a session's live notebook in `host`. */
export function mountNotebook(
  host: HTMLElement,
  base: LabPlatform,
  rendermime: IRenderMimeRegistry,
  { session, cell, navigation, onSession }: NotebookMount
): MountedNotebook {
  const root = createRoot(host);
  const platform = platformOf(base, rendermime);
  const goTo = (where: string) =>
    root.render(
      <PlatformProvider value={platform}>
        <NavigationProvider value={navigation}>
          <div className="jp-Postdoc jp-Postdoc-App">
            <ConnectionBanner covered={false} />
            <ErrorBoundary at={session}>
              <NotebookView session={session} cell={where || undefined} onSession={onSession} />
            </ErrorBoundary>
          </div>
        </NavigationProvider>
      </PlatformProvider>
    );
  goTo(cell);
  return { goTo, dispose: () => root.unmount() };
}

/** What the platform can do changes with what is open (getters): it is inherited, not copied. */
function platformOf(base: LabPlatform, rendermime: IRenderMimeRegistry): Platform {
  return Object.create(base, {
    markdown: { value: createLabMarkdown(rendermime), enumerable: true }
  }) as Platform;
}
