/** What can be done with a session from the list. */
import { useCallback, useState } from 'react';

import { RequestFailed } from '../../client';
import type { ChatInfo, Problem } from '../../model';
import { useNavigation } from '../../navigation';
import type { Route } from '../../navigation';
import { usePlatform } from '../../platform';
import { textIn, recordOf } from '../../store/parts';
import type { Store } from '../../store';
import type { MenuItem } from '../ui';

export interface Actions {
  open(id: string): void;
  rename(id: string, title: string): void;
  /** Asks first. Resolves to whether it was deleted. */
  remove(info: ChatInfo): Promise<boolean>;
  menu(info: ChatInfo, startRename: () => void): (MenuItem | 'separator')[];
  /** What went wrong last, until it is dismissed or something else is done. */
  readonly problem: Problem | null;
  dismiss(): void;
}

let asked = 0;

/** The route to a form that begins with these values; another form each time. */
export function newRoute(values: { topic?: string; template?: string } = {}): Route {
  asked += 1;
  return { view: 'new', ...values, key: `list-${asked}` };
}

function problemFrom(error: unknown, fallback: string): Problem {
  return error instanceof RequestFailed
    ? error.problem
    : { code: 'internal', error: fallback, next: '', retryable: true };
}

/** The actions, and the problem of the last one. */
export function useActions(): Actions {
  const platform = usePlatform();
  const navigation = useNavigation();
  const [problem, setProblem] = useState<Problem | null>(null);
  const { client, trans } = platform;

  const attempt = useCallback(
    async (work: () => Promise<unknown>): Promise<boolean> => {
      setProblem(null);
      try {
        await work();
        return true;
      } catch (error) {
        setProblem(problemFrom(error, trans.__('That did not work. Try again.')));
        return false;
      }
    },
    [trans]
  );

  const remove = useCallback(
    async (info: ChatInfo): Promise<boolean> => {
      const yes = await platform.confirm({
        title: trans.__('Delete “%1”?', info.title || trans.__('Untitled')),
        body: info.project
          ? trans.__('Its messages are deleted for good, and what still runs is stopped. Its folder stays.')
          : trans.__('Its messages are deleted for good, and what still runs is stopped.'),
        accept: trans.__('Delete'),
        dangerous: true
      });
      return yes && attempt(() => client.delete(info.id));
    },
    [platform, client, trans, attempt]
  );

  const menu = (info: ChatInfo, startRename: () => void): (MenuItem | 'separator')[] => {
    const project = recordOf(info.project);
    const notebook = textIn(project, 'notebook');
    const report = textIn(project, 'report');
    const folder = textIn(project, 'path');
    const items: (MenuItem | 'separator' | false)[] = [
      notebook !== '' &&
        platform.openNotebook !== undefined && {
          label: trans.__('Open notebook'),
          icon: 'notebook',
          onSelect: () => platform.openNotebook?.(notebook)
        },
      report !== '' &&
        platform.openReport !== undefined && {
          label: trans.__('Open report'),
          icon: 'file',
          onSelect: () => platform.openReport?.(info.id, info.title)
        },
      folder !== '' &&
        platform.openFolder !== undefined && {
          label: trans.__('Open folder'),
          icon: 'folder',
          onSelect: () => platform.openFolder?.(folder)
        },
      'separator',
      {
        label: trans.__('Duplicate as new'),
        icon: 'copy',
        onSelect: () =>
          navigation.go(newRoute({ topic: topicOf(info, platform), template: info.template ?? undefined }))
      },
      { label: trans.__('Rename'), icon: 'edit', onSelect: startRename },
      {
        label: info.archived ? trans.__('Unarchive') : trans.__('Archive'),
        icon: 'archive',
        onSelect: () => void attempt(() => client.set(info.id, { archived: !info.archived }))
      },
      'separator',
      { label: trans.__('Delete…'), icon: 'trash', dangerous: true, onSelect: () => void remove(info) }
    ];
    const shown = items.filter(item => item !== false);
    return shown[0] === 'separator' ? shown.slice(1) : shown;
  };

  return {
    open: useCallback((id: string) => navigation.go({ view: 'session', id }), [navigation]),
    rename: useCallback(
      (id: string, title: string) => void attempt(() => client.set(id, { title })),
      [client, attempt]
    ),
    remove,
    menu,
    problem,
    dismiss: useCallback(() => setProblem(null), [])
  };
}

/** The question that the session began with, where it is known; otherwise its title. */
function topicOf(info: ChatInfo, platform: { store: Store }): string {
  for (const item of platform.store.getState().views[info.id]?.items ?? []) {
    if (item.kind === 'user' && item.research !== undefined) {
      return textIn(recordOf(item.research), 'topic') || item.content || info.title;
    }
  }
  return info.title;
}
