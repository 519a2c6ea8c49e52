/**
 * Commands on their way. Each has an id and is kept until the server has answered: after a reconnection it is sent
 * again with the same id, and the server does it once.
 */
import { RequestFailed } from '../client';
import type { Problem } from '../model';
import type { Ack, EventFrame } from '../protocol';
import { NOT_SENT } from './problems';

const PATIENCE_MS = 30_000;

interface Waiting {
  frame: { id: string; [field: string]: unknown };
  resolve: (ack: Ack) => void;
  reject: (error: RequestFailed) => void;
  timer: ReturnType<typeof setTimeout>;
}

export class Outbox {
  private waiting = new Map<string, Waiting>();

  constructor(private readonly put: (frame: object) => boolean) {}

  /** Resolves with the server's ack; rejects when it is refused, or when it could not be sent for half a minute. */
  send(frame: { id: string; [field: string]: unknown }): Promise<Ack> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.refused(frame.id, NOT_SENT), PATIENCE_MS);
      this.waiting.set(frame.id, { frame, resolve, reject, timer });
      this.put(frame);
    });
  }

  /** After a reconnection: all that is unanswered, in the order in which it was given. */
  resend(): void {
    for (const { frame } of this.waiting.values()) {
      this.put(frame);
    }
  }

  acked(ack: Ack): void {
    this.take(ack.id)?.resolve(ack);
  }

  /** True when it was one of ours. */
  refused(id: string, problem: Problem): boolean {
    const one = this.take(id);
    one?.reject(new RequestFailed(problem));
    return one !== undefined;
  }

  /** Messages that are in the log were carried out, whether their ack came or not. */
  seen(frames: readonly EventFrame[]): void {
    if (this.waiting.size === 0) {
      return;
    }
    for (const frame of frames) {
      if (frame.type === 'user_message' && this.waiting.has(frame.id)) {
        this.acked({
          type: 'ack',
          v: 1,
          ts: '',
          id: frame.id,
          seq: frame.seq,
          duplicate: false,
          queued: false
        });
      }
    }
  }

  /** Forget one; its promise is rejected. */
  drop(id: string): void {
    this.refused(id, NOT_SENT);
  }

  dispose(): void {
    for (const id of [...this.waiting.keys()]) {
      this.drop(id);
    }
  }

  private take(id: string): Waiting | undefined {
    const one = this.waiting.get(id);
    if (one !== undefined) {
      this.waiting.delete(id);
      clearTimeout(one.timer);
    }
    return one;
  }
}
