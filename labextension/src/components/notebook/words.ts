/** The notebook in words. Pure. */
import type { LiveNotebook } from '../../client';
import { dateTime, timeOfDay } from '../../format';
import type { Trans } from '../../platform';
import type { IconName } from '../ui';

export interface Said {
  readonly icon: IconName;
  readonly text: string;
  /** More of it, for who points at it. */
  readonly title: string;
  readonly tone: 'plain' | 'busy' | 'good' | 'warn' | 'bad';
}

/** Who changes the notebook, and what the user may do. */
export function handSaid(trans: Trans, { hand, mine, holder, running, state }: LiveNotebook): Said {
  if (mine) {
    return {
      icon: 'edit',
      text: trans.__('You edit'),
      title: running
        ? trans.__('The agent waits until you give the notebook back.')
        : trans.__('No agent changes the notebook until you give it back.'),
      tone: 'good'
    };
  }
  if (hand === 'person') {
    const who = holder || trans.__('Somebody');
    return {
      icon: 'hand',
      text: trans.__('%1 edits · you watch', who),
      title: trans.__('Once %1 has given the notebook back, you can take it over.', who),
      tone: 'warn'
    };
  }
  if (state === 'following') {
    return {
      icon: 'eye',
      text: running ? trans.__('The agent works on the file') : trans.__('You watch'),
      title: trans.__('The page follows the file of the notebook.'),
      tone: running ? 'busy' : 'plain'
    };
  }
  return running
    ? {
        icon: 'eye',
        text: trans.__('The agent works · you watch'),
        title: trans.__('What it changes and runs is shown as it happens.'),
        tone: 'busy'
      }
    : {
        icon: 'eye',
        text: trans.__('You watch'),
        title: trans.__('Take the notebook over to edit it and to run its cells.'),
        tone: 'plain'
      };
}

/** How the kernel is. */
export function kernelSaid(trans: Trans, { kernel }: LiveNotebook): Said {
  switch (kernel) {
    case 'busy':
      return {
        icon: 'spinner',
        text: trans.__('Kernel busy'),
        title: trans.__('A cell runs'),
        tone: 'busy'
      };
    case 'starting':
      return {
        icon: 'spinner',
        text: trans.__('Kernel starts'),
        title: trans.__('The kernel is being started'),
        tone: 'busy'
      };
    case 'idle':
      return {
        icon: 'check',
        text: trans.__('Kernel idle'),
        title: trans.__('Nothing runs; variables are in memory'),
        tone: 'plain'
      };
    case 'dead':
      return {
        icon: 'error',
        text: trans.__('Kernel ended'),
        title: trans.__('The kernel has ended; its variables are lost'),
        tone: 'bad'
      };
    case 'none':
      return {
        icon: 'dash',
        text: trans.__('No kernel'),
        title: trans.__('Nothing has run yet; a kernel is started when a cell runs'),
        tone: 'plain'
      };
  }
}

/** Whether what runs in the notebook is kept away from the rest of the machine. */
export function sandboxSaid(trans: Trans, { sandboxed, sandbox }: LiveNotebook): Said {
  return sandboxed
    ? {
        icon: 'lock',
        text: trans.__('Sandboxed'),
        title: trans.__('Code of this notebook sees its own folder only, and no network.'),
        tone: 'plain'
      }
    : {
        icon: 'warn',
        text: trans.__('No sandbox'),
        title: [
          trans.__('Code of this notebook can do what the Jupyter server’s user can do.'),
          sandbox.why,
          sandbox.next
        ]
          .filter(Boolean)
          .join(' '),
        tone: 'warn'
      };
}

/** Where the outputs come from when they are not from the kernel that runs; null otherwise. `now`: milliseconds. */
export function outputsSaid(
  trans: Trans,
  { outputsFrom }: LiveNotebook,
  language: string,
  now: number
): string | null {
  if (outputsFrom === null || outputsFrom <= 0) {
    return null;
  }
  const at = outputsFrom * 1000;
  const today = new Date(at).toDateString() === new Date(now).toDateString();
  const when = today ? timeOfDay(at, language) : dateTime(at, language);
  return trans.__(
    'The outputs are from %1. Their variables are not in memory: cells have to run again to go on with them.',
    when
  );
}
