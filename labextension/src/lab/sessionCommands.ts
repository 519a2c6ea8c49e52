/** Commands that do something with a session: the one named in their arguments, or the current one. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { RequestFailed } from '../client';
import { reportOf } from '../components/timeline/report';
import type { ChatInfo } from '../model';
import { isBusy, isWaiting } from './notices';
import type { IPostdoc } from './tokens';
import { Commands } from './tokens';
import { schema, text } from './viewCommands';

const RESUMABLE = new Set(['interrupted', 'stopped', 'error']);

export function registerSessionCommands(app: JupyterFrontEnd, postdoc: IPostdoc): void {
  const { trans, store, places, client, platform } = postdoc;
  const args = schema({ session: 'The id of a session; without it, the one shown last.' });

  const named = (given: ReadonlyPartialJSONObject): ChatInfo | null => {
    const id = text(given, 'session') || places.current();
    return (id && store.getState().sessions?.[id]) || null;
  };

  const add = (
    id: string,
    label: string,
    applies: (session: ChatInfo) => boolean,
    execute: (session: ChatInfo) => unknown
  ) => {
    app.commands.addCommand(id, {
      label,
      describedBy: { args },
      isEnabled: given => {
        const session = named(given);
        return session !== null && applies(session);
      },
      execute: async given => {
        const session = named(given);
        if (session !== null && applies(session)) {
          await attempt(async () => execute(session));
        }
      }
    });
  };

  add(
    Commands.stop,
    trans.__('Stop the current session'),
    session => isBusy(session) || isWaiting(session),
    ({ id, state }) => client.stop(id, state === 'stopping' ? 'now' : 'graceful')
  );
  add(
    Commands.resume,
    trans.__('Resume the current session'),
    session => RESUMABLE.has(session.state),
    ({ id }) => client.resume(id)
  );
  add(
    Commands.openNotebook,
    trans.__('Open the file of the notebook'),
    session => path(session, 'notebook') !== null,
    session => platform.openFile(path(session, 'notebook')!)
  );
  add(
    Commands.takeNotebook,
    trans.__('Take the notebook over'),
    session => path(session, 'notebook') !== null && session.notebook === null,
    ({ id }) => client.takeNotebook(id)
  );
  add(
    Commands.giveNotebook,
    trans.__('Give the notebook back'),
    session => session.notebook?.['holder'] === store.getState().user?.name,
    ({ id }) => client.giveNotebook(id)
  );
  add(
    Commands.openFolder,
    trans.__('Open the folder of the research'),
    session => path(session, 'path') !== null,
    session => platform.openFolder(path(session, 'path')!)
  );
  add(
    Commands.copyReport,
    trans.__('Copy a report of the session'),
    session => store.getState().views[session.id]?.loaded === 'yes',
    async session => {
      const view = store.getState().views[session.id];
      const failed = view?.items.filter(item => item.kind === 'error').at(-1) ?? null;
      await platform.copy(reportOf(failed, view));
      Notification.info(trans.__('Copied.'), { autoClose: 2000 });
    }
  );
}

/** A path of the session's project; null when it has none. */
function path(session: ChatInfo, key: 'notebook' | 'path'): string | null {
  const value = session.project?.[key];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** A refusal is told in the server's words. */
export async function attempt(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RequestFailed)) {
      throw error;
    }
    Notification.error(`${error.problem.error} ${error.problem.next}`.trim());
  }
}
