/** A session with a live notebook on a server in memory, for the tests of what shows it. */
import type { LiveNotebook } from '../../../client';
import type { ChatInfo } from '../../../model';
import type { Bench } from '../../session/__tests__/bench';
import { bench, ID } from '../../session/__tests__/bench';
import { chat } from '../../sessions/__tests__/desk';

export const PATH = 'research/reversal/notebook.py';

export const READY: LiveNotebook = {
  state: 'ready',
  message: '',
  kernel: 'idle',
  viewers: 0,
  sandboxed: true,
  outputsFrom: null,
  hand: 'agent',
  holder: '',
  mine: false,
  path: PATH,
  running: false,
  sandbox: { available: true, why: '', next: null }
};

export interface NotebookRoom extends Bench {
  /** How the notebook is on the server. */
  live: LiveNotebook;
  /** What was asked of it: `open watch`, `restart kernel`, … */
  calls: string[];
  /** What the next opening is refused with. */
  refusals: { code: string; error: string; next?: string; status: number }[];
  /** The hand changes, as the server says it: to "" (the agent's) or to a person's. */
  hand(holder: string, mine?: boolean): void;
}

export function notebookRoom(
  live: Partial<LiveNotebook> = {},
  options: Parameters<typeof bench>[0] = {}
): NotebookRoom {
  const info = { project: { path: 'research/reversal', notebook: PATH }, ...options.info };
  const at = bench({ ...options, info });
  const { office } = at;
  const made: NotebookRoom = {
    ...at,
    live: { ...READY, ...live },
    calls: [],
    refusals: [],
    hand: (holder, mine = false) => {
      const taken = holder !== '';
      made.live = { ...made.live, hand: taken ? 'person' : 'agent', holder, mine: taken && mine };
      const notebook = taken ? { hand: 'person', holder: mine ? 'ana' : 'bo', display: holder } : null;
      const known = office.chats.get(ID) as ChatInfo;
      office.tell(chat({ ...known, notebook, version: known.version + 1 }));
      const { state, path } = made.live;
      at.event({ type: 'notebook', state, hand: taken ? 'person' : 'agent', holder, message: '', path });
    }
  };
  const rest = office.rest;
  let tickets = 0;
  office.rest = (path, init) => {
    const what = /^api\/chats\/c1\/notebook(?:\/(.*))?$/.exec(path);
    if (what === null) {
      return rest(path, init);
    }
    const body = JSON.parse(String(init?.body ?? '{}')) as { mode?: string; what?: string };
    if (what[1] === undefined) {
      return made.live;
    }
    made.calls.push([what[1], body.mode ?? body.what].filter(Boolean).join(' '));
    const refusal = made.refusals.shift();
    if (refusal !== undefined) {
      const { status, ...problem } = refusal;
      return new Response(JSON.stringify(problem), { status });
    }
    if (what[1] === 'open') {
      tickets += 1;
      return { url: `/postdoc/nt/t${tickets}/?file=notebook.py`, mode: body.mode, expires: '' };
    }
    if (what[1] === 'close') {
      made.live = { ...made.live, state: 'stopped', kernel: 'none' };
    }
    return made.live;
  };
  const answer = office.answer.bind(office);
  office.answer = (socket, frame) => {
    answer(socket, frame);
    if (frame.type === 'notebook.take') {
      made.hand('Ana', true);
    } else if (frame.type === 'notebook.give') {
      made.hand('');
    }
  };
  return made;
}
