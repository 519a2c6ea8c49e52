/**
 * The state of this client, and when the views hear of it: at most once per frame of the screen, and for streamed text
 * no oftener than the user's setting says. A hidden tab has no frames; there a timer does it.
 */
import type { Connection, State } from './model';

/** Read-only for the views; only the client changes it. */
export interface Store {
  getState(): State;
  subscribe(listener: () => void): () => void;
}

const CONNECTING: Connection = { state: 'connecting', lostAt: null, retryAt: null, problem: null };
export const EMPTY_STATE: State = { connection: CONNECTING, user: null, sessions: null, views: {} };
const HIDDEN_MS = 250;
const LATE_MS = 100;

/** What the views see is one object until the next publication; `latest` is what the client goes by. */
export class LiveStore implements Store {
  /** Milliseconds between two publications of streamed text. */
  flushMs = 100;
  private latest: State = EMPTY_STATE;
  private published: State = EMPTY_STATE;
  private publishedAt = -Infinity;
  private listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private frame: number | null = null;
  private soon = false;
  private disposed = false;

  getState = (): State => this.published;

  /** The newest state, published or not. */
  current(): State {
    return this.latest;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };

  /** Change the state. `streamed`: nothing but text that grows, which may wait for the next flush. */
  update(change: (state: State) => State, streamed = false): void {
    const next = change(this.latest);
    if (next === this.latest || this.disposed) {
      return;
    }
    this.latest = next;
    if (!streamed) {
      if (!this.soon) {
        this.soon = true;
        this.cancel();
        this.plan(0);
      }
    } else if (this.timer === null && this.frame === null) {
      this.plan(Math.max(0, this.publishedAt + this.flushMs - performance.now()));
    }
  }

  /** Show what there is now. */
  flush(): void {
    this.cancel();
    this.soon = false;
    if (this.published !== this.latest) {
      this.published = this.latest;
      this.publishedAt = performance.now();
      this.listeners.forEach(listener => listener());
    }
  }

  /** Let go of timers. */
  dispose(): void {
    this.disposed = true;
    this.cancel();
    this.listeners.clear();
  }

  private plan(ms: number): void {
    const hidden = typeof document !== 'undefined' && document.visibilityState === 'hidden';
    if (hidden || typeof requestAnimationFrame === 'undefined') {
      this.timer = setTimeout(() => this.flush(), Math.max(ms, hidden ? HIDDEN_MS : 0));
      return;
    }
    const next = () => {
      // A frame may never come (the tab was hidden meanwhile): then the timer does it.
      this.timer = setTimeout(() => this.flush(), LATE_MS);
      this.frame = requestAnimationFrame(() => this.flush());
    };
    if (ms > 0) {
      this.timer = setTimeout(next, ms);
    } else {
      next();
    }
  }

  private cancel(): void {
    if (this.timer !== null) {
      clearTimeout(this.timer);
      this.timer = null;
    }
    if (this.frame !== null) {
      cancelAnimationFrame(this.frame);
      this.frame = null;
    }
  }
}
