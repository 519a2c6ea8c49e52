/** Tells the user what happens in sessions that are not in view. */
import { Notification } from '@jupyterlab/apputils';

import type { Trans } from '../platform';
import type { Store } from '../store';
import type { Notice } from './notices';
import { NoticeLog, isWaiting } from './notices';
import type { Places } from './places';
import type { LiveSettings } from './settings';

export interface NotifierOptions {
  readonly store: Store;
  readonly places: Places;
  readonly settings: LiveSettings;
  readonly trans: Trans;
  /** Show the session. */
  open(session: string): void;
}

const TYPES = { finished: 'success', error: 'error', waiting: 'warning' } as const;
const MARK = /^\(\d+\) /;

export class Notifier {
  private readonly log = new NoticeLog();
  private readonly stops: (() => void)[] = [];
  /** News since the tab was last looked at. */
  private unseen = 0;
  /** The toast of a session; the next one takes its place. */
  private readonly toasts = new Map<string, string>();
  /** Those of them that wait for an answer. */
  private readonly questions = new Map<string, string>();
  private last: unknown;

  constructor(private readonly options: NotifierOptions) {
    const { store, settings } = options;
    this.stops.push(store.subscribe(() => this.read()));
    this.read();

    let wanted = settings.get().browserNotifications;
    this.stops.push(
      settings.subscribe(() => {
        const before = wanted;
        wanted = settings.get().browserNotifications;
        if (wanted && !before) {
          void this.askLeave();
        }
      })
    );

    const seen = () => {
      if (!document.hidden) {
        this.unseen = 0;
        document.title = document.title.replace(MARK, '');
      }
    };
    document.addEventListener('visibilitychange', seen);
    this.stops.push(() => document.removeEventListener('visibilitychange', seen));
  }

  dispose(): void {
    this.stops.splice(0).forEach(stop => stop());
  }

  private read(): void {
    const { store, settings, places } = this.options;
    const { sessions } = store.getState();
    if (sessions === this.last) {
      return;
    }
    this.last = sessions;
    for (const [id, toast] of this.questions) {
      const session = sessions?.[id];
      if (session !== undefined && !isWaiting(session)) {
        Notification.dismiss(toast); // it has its answer
        this.questions.delete(id);
      }
    }
    const { notifyOn } = settings.get();
    for (const notice of this.log.read(sessions)) {
      const inView = !document.hidden && places.shows(notice.session.id);
      if (notifyOn.includes(notice.kind) && !inView) {
        this.tell(notice);
      }
    }
  }

  private tell(notice: Notice): void {
    const { trans, open, settings } = this.options;
    const { id, line } = notice.session;
    const headline = this.headline(notice);
    const detail = line?.trim() ? `${headline}\n${line.trim()}` : headline;

    const old = this.toasts.get(id);
    if (old !== undefined) {
      Notification.dismiss(old);
    }
    const toast = Notification.emit(cut(detail, 140), TYPES[notice.kind], {
      // Who is asked must not miss it.
      autoClose: notice.kind === 'finished' ? 10_000 : false,
      actions: [{ label: trans.__('Open session'), displayType: 'accent', callback: () => open(id) }]
    });
    this.toasts.set(id, toast);
    if (notice.kind === 'waiting') {
      this.questions.set(id, toast);
    }

    if (document.hidden) {
      this.unseen += 1;
      document.title = `(${this.unseen}) ${document.title.replace(MARK, '')}`;
      if (settings.get().browserNotifications) {
        this.tellBrowser(notice, headline);
      }
    }
  }

  private headline({ kind, session }: Notice): string {
    const { trans } = this.options;
    const title = session.title === '' ? trans.__('Untitled') : session.title;
    switch (kind) {
      case 'finished':
        return trans.__('Finished: %1', title);
      case 'error':
        return session.state === 'interrupted'
          ? trans.__('Server restarted during this run: %1', title)
          : trans.__('Failed: %1', title);
      case 'waiting':
        return trans.__('Needs your answer: %1', title);
    }
  }

  /** A notification of the operating system. The tag keeps several browser tabs from saying the same several times. */
  private tellBrowser({ session }: Notice, headline: string): void {
    if (!('Notification' in window) || window.Notification.permission !== 'granted') {
      return;
    }
    const options = { body: session.line ?? '', tag: `postdoc-${session.id}-${session.version}` };
    try {
      const shown = new window.Notification(headline, options);
      shown.onclick = () => {
        window.focus();
        this.options.open(session.id);
        shown.close();
      };
    } catch {
      // Some browsers of phones only let service workers do this.
    }
  }

  private async askLeave(): Promise<void> {
    const { trans } = this.options;
    if (!('Notification' in window)) {
      Notification.warning(trans.__('This browser has no notifications.'));
      return;
    }
    const permission = await window.Notification.requestPermission();
    if (permission === 'denied') {
      Notification.warning(
        trans.__('The browser blocks notifications of this page. Allow them in its settings for this site.')
      );
    } else if (permission === 'default') {
      // Not asked: some browsers want a click first.
      Notification.info(trans.__('The browser has to allow notifications.'), {
        autoClose: false,
        actions: [{ label: trans.__('Allow…'), callback: () => void window.Notification.requestPermission() }]
      });
    }
  }
}

function cut(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}
