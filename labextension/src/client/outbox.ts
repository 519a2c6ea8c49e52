/**
 * Commands on their way. Each has an id and is kept until the server has answered: after a reconnection it is sent
 * again with the same id, and the server does it once.
 */
import { RequestFailed } from '../client';
import type { Problem } from '../model';
import type { Ack, EventFrame } from '../protocol';
import { NOT_SENT, NO_ANSWER, TOO_LARGE } from './problems';

/** How long a command waits without a connection, in milliseconds. With one it waits for its answer. */
const PATIENCE_MS = 30_000;
const AGAIN_MS = 1_000;

type Command = { id: string; [field: string]: unknown };

interface Waiting {
  readonly frame: Command;
  readonly resolve: (ack: Ack) => void;
  readonly reject: (error: RequestFailed) => void;
  readonly at: number;
  /** It may have reached the server. */
  sent: boolean;
  timer: ReturnType<typeof setTimeout>;
}

/** `put` gives a frame to the connection, false without one; `lostAt`: since when there is none, null when there is. */
export interface Line {
  put(frame: object): boolean;
  lostAt(): number | null;
}

export class Outbox {
  /** The largest message that the server takes, in bytes. A larger one would cost us the connection, again and again. */
  largest = 1 << 20;
  private waiting = new Map<string, Waiting>();

  constructor(private readonly line: Line) {}

  /** Resolves with the server's ack; rejects when it is refused, or when there was no connection for half a minute. */
  send(frame: Command): Promise<Ack> {
    if (new TextEncoder().encode(JSON.stringify(frame)).length > this.largest) {
      return Promise.reject(new RequestFailed(TOO_LARGE));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.late(frame.id), PATIENCE_MS);
      const sent = this.line.put(frame);
      this.waiting.set(frame.id, { frame, resolve, reject, at: Date.now(), sent, timer });
    });
  }

  /** After a reconnection: all that is unanswered, in the order in which it was given. */
  resend(): void {
    for (const one of this.waiting.values()) {
      one.sent = this.line.put(one.frame) || one.sent;
    }
  }

  acked(ack: Ack): void {
    this.take(ack.id)?.resolve(ack);
  }

  /** True when it was one of ours. One that came too fast is sent again. */
  refused(id: string, problem: Problem): boolean {
    const one = this.waiting.get(id);
    if (one === undefined) {
      return false;
    }
    if (problem.code === 'rate_limited') {
      setTimeout(() => this.waiting.get(id) === one && this.line.put(one.frame), AGAIN_MS);
      return true;
    }
    this.take(id)?.reject(new RequestFailed(problem));
    return true;
  }

  /** Messages that are in the log were carried out, whether their ack came or not. */
  seen(frames: readonly EventFrame[]): void {
    if (this.waiting.size === 0) {
      return;
    }
    for (const frame of frames) {
      if (frame.type === 'user_message' && this.waiting.get(frame.id)?.frame.type === 'chat') {
        const { id, seq } = frame;
        this.acked({ type: 'ack', v: 1, ts: '', id, seq, duplicate: false, queued: false });
      }
    }
  }

  /** Forget one; its promise is rejected. */
  drop(id: string): void {
    const one = this.take(id);
    one?.reject(new RequestFailed(one.sent ? NO_ANSWER : NOT_SENT));
  }

  dispose(): void {
    [...this.waiting.keys()].forEach(id => this.drop(id));
  }

  private late(id: string): void {
    const one = this.waiting.get(id);
    if (one === undefined) {
      return;
    }
    const lostAt = this.line.lostAt();
    const without = lostAt === null ? 0 : Date.now() - Math.max(lostAt, one.at);
    if (without >= PATIENCE_MS) {
      this.drop(id);
    } else {
      one.timer = setTimeout(() => this.late(id), PATIENCE_MS - without);
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
