/** A notebook as one view shows it: how it is on the server, the page that shows it, and what is being done to it. */
import type { Client, LiveNotebook, NotebookMode } from '../../client';
import { RequestFailed } from '../../client';
import type { Problem } from '../../model';
import { troubleOf } from '../session/trouble';
import type { Ending } from './NotebookFrame';

/** What fills the view. `absent`: there is no notebook yet; `ended`: its processes are gone. */
export type Page =
  | { readonly at: 'starting'; readonly since: number }
  | { readonly at: 'absent' }
  | { readonly at: 'failed'; readonly problem: Problem }
  | { readonly at: 'ended'; readonly message: string }
  | { readonly at: 'open'; readonly url: string; readonly mode: NotebookMode; readonly n: number };

export type Doing = 'take' | 'give' | 'interrupt' | 'restart' | 'close';

export interface Shown {
  /** Null: not known yet. */
  readonly status: LiveNotebook | null;
  readonly page: Page;
  /** Another page is on its way; the one that is open stays until it is there. */
  readonly switching: boolean;
  readonly doing: Doing | null;
  /** What came in the way of the last thing that was asked for, in words. */
  readonly trouble: string | null;
}

type Calls = Pick<
  Client,
  | 'notebook'
  | 'openNotebook'
  | 'notebookAlive'
  | 'takeNotebook'
  | 'giveNotebook'
  | 'interruptNotebook'
  | 'restartNotebook'
  | 'closeNotebook'
>;

const UP = new Set(['ready', 'following']);
const DOWN = new Set(['stopped', 'failed']);
/** How long a page waits for its kernel, and how often that is looked at; milliseconds. */
const KERNEL_MS = 30_000;
const KERNEL_LOOK_MS = 400;
/** Between two openings for which the page itself asked; milliseconds. */
const REOPEN_MS = 5_000;
/** What an opening for editing is refused with when the notebook is in another hand by now. */
const NOT_MINE = new Set(['busy', 'forbidden']);

export class NotebookDesk {
  private now: Shown = {
    status: null,
    page: { at: 'starting', since: Date.now() },
    switching: false,
    doing: null,
    trouble: null
  };
  private readonly listeners = new Set<() => void>();
  /** Counts openings: the answer to an older one counts no more. */
  private turn = 0;
  private asked = 0;
  private answered = 0;
  private disposed = false;
  private reopenedAt = -Infinity;

  constructor(
    private readonly client: Calls,
    readonly session: string
  ) {}

  get = (): Shown => this.now;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };

  dispose(): void {
    this.disposed = true;
    this.listeners.clear();
  }

  /** Open the page, or another one in its place: for editing while the notebook is in this user's hand. */
  open = async (): Promise<void> => {
    const turn = ++this.turn;
    const stays = this.now.page.at === 'open';
    this.put({ switching: stays, ...(stays ? {} : { page: { at: 'starting', since: Date.now() } }) });
    let known: LiveNotebook | null = null;
    try {
      known = await this.look();
      if (turn !== this.turn) {
        return;
      }
      if (known.path === '') {
        this.show({ at: 'absent' });
        return;
      }
      const { url, mode } = await this.openAs(known.mine ? 'edit' : 'watch');
      await this.waitForKernel(turn);
      if (turn === this.turn) {
        this.show({ at: 'open', url, mode, n: turn });
        void this.refresh();
      }
    } catch (error) {
      if (turn !== this.turn) {
        return;
      }
      const problem = problemIn(error);
      // The session is there and its notebook is not: it is not made yet.
      this.show(
        known !== null && problem.code === 'not_found' ? { at: 'absent' } : { at: 'failed', problem }
      );
    }
  };

  /**
   * Ask how things are, and follow: to the page for editing or watching, to one that runs again. Whether there was an
   * answer.
   */
  refresh = async (): Promise<boolean> => {
    const turn = this.turn;
    let status: LiveNotebook;
    try {
      status = await this.look();
    } catch {
      return false; // the connection is told of elsewhere; the next time tells more
    }
    const { page, switching, doing } = this.now;
    if (turn !== this.turn || switching || doing === 'restart' || doing === 'close') {
      return true;
    }
    if (page.at === 'open') {
      if (DOWN.has(status.state)) {
        this.show({ at: 'ended', message: status.message });
      } else if ((page.mode === 'edit') !== status.mine) {
        await this.open();
      }
    } else if ((page.at === 'ended' || page.at === 'absent') && UP.has(status.state)) {
      await this.open();
    }
    return true;
  };

  /** After time without a connection or in the background: the address may hold no longer. */
  verify = async (): Promise<void> => {
    const { page } = this.now;
    if (page.at === 'open' && !(await this.client.notebookAlive(page.url)) && this.now.page === page) {
      await this.open();
    } else {
      await this.refresh();
    }
  };

  /**
   * The page says that its address holds no longer (`expired`), that there is no editor behind it (`stopped`), or that
   * the editor has sent it away (`closed`). It may be made to say so by what runs in it: nothing comes of it oftener
   * than now and then.
   */
  said = async (event: Ending): Promise<void> => {
    const { page } = this.now;
    if (event !== 'expired' && !(await this.refresh())) {
      return; // it is looked at again when the server is back
    }
    const at = Date.now();
    // One that is there again, or is being started again, is opened anew: this page does not come back by itself.
    if (this.now.page === page && page.at === 'open' && !this.now.switching && this.now.doing === null) {
      if (at - this.reopenedAt > REOPEN_MS) {
        this.reopenedAt = at;
        await this.open();
      }
    }
  };

  take = (): Promise<void> => this.attempt('take', () => this.client.takeNotebook(this.session));
  give = (): Promise<void> => this.attempt('give', () => this.client.giveNotebook(this.session));
  interrupt = (): Promise<void> =>
    this.attempt('interrupt', () => this.client.interruptNotebook(this.session));

  restart = (what: 'kernel' | 'editor'): Promise<void> =>
    this.attempt('restart', async () => {
      await this.client.restartNotebook(this.session, what);
      if (what === 'editor') {
        await this.open(); // after a restart of the kernel alone, the page goes on by itself
      }
    });

  close = (): Promise<void> =>
    this.attempt('close', async () => {
      await this.client.closeNotebook(this.session);
      this.turn += 1;
      this.show({ at: 'ended', message: '' });
    });

  dismiss = (): void => this.put({ trouble: null });

  private async attempt(doing: Doing, work: () => Promise<void>): Promise<void> {
    if (this.now.doing !== null) {
      return;
    }
    this.put({ doing, trouble: null });
    try {
      await work();
    } catch (error) {
      this.put({ trouble: troubleOf(error) });
    } finally {
      this.put({ doing: null });
    }
    await this.refresh();
  }

  private async openAs(mode: NotebookMode) {
    try {
      return await this.client.openNotebook(this.session, mode);
    } catch (error) {
      if (mode === 'edit' && NOT_MINE.has(problemIn(error).code)) {
        return this.client.openNotebook(this.session, 'watch');
      }
      throw error;
    }
  }

  /** A page that connects before there is a kernel is told that there is none, and stays empty. */
  private async waitForKernel(turn: number): Promise<void> {
    const until = Date.now() + KERNEL_MS;
    for (;;) {
      const { kernel } = await this.look();
      if ((kernel !== 'none' && kernel !== 'starting') || Date.now() > until) {
        return;
      }
      await new Promise(resolve => setTimeout(resolve, KERNEL_LOOK_MS));
      if (turn !== this.turn || this.disposed) {
        return;
      }
    }
  }

  /** An answer that is overtaken by a later one is not kept. */
  private async look(): Promise<LiveNotebook> {
    const mine = ++this.asked;
    const status = await this.client.notebook(this.session);
    if (mine > this.answered) {
      this.answered = mine;
      this.put({ status });
    }
    return status;
  }

  private show(page: Page): void {
    this.put({ page, switching: false });
  }

  private put(change: Partial<Shown>): void {
    if (!this.disposed) {
      this.now = { ...this.now, ...change };
      this.listeners.forEach(listener => listener());
    }
  }
}

function problemIn(error: unknown): Problem {
  return error instanceof RequestFailed
    ? error.problem
    : { code: 'internal', error: troubleOf(error), next: '', retryable: true };
}
