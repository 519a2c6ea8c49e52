/** A server in memory for the client's tests: it speaks the protocol over sockets that a test can cut. */
import type { Server } from '../client';
import type { EventFrame } from '../protocol';

export const CHAT = 'c1';

const LIMITS = {
  message: 1 << 20,
  content: 200_000,
  frame: 262_144,
  depth: 32,
  subscriptions: 64,
  perSecond: 30,
  burst: 60
};

/** One end of a connection, as a browser shows it. */
export class Socket {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  onerror: (() => void) | null = null;
  /** What the client sent, as objects. */
  readonly sent: Record<string, unknown>[] = [];

  constructor(private readonly wire: Wire) {}

  send(text: string): void {
    const frame = JSON.parse(text) as Record<string, unknown>;
    this.sent.push(frame);
    if (!this.wire.dead) {
      queueMicrotask(() => this.wire.answer(this, frame));
    }
  }

  close(): void {
    this.readyState = 3;
  }

  // --- what the test does ---

  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }

  give(...frames: object[]): void {
    this.onmessage?.({ data: JSON.stringify(frames) });
  }

  end(code = 1006): void {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

/** The server: logs of sessions, receipts of commands, and how it fails. */
export class Wire implements Server {
  readonly sockets: Socket[] = [];
  readonly logs = new Map<string, EventFrame[]>();
  readonly receipts = new Map<string, Record<string, unknown>>();
  readonly requests: { path: string; init?: RequestInit }[] = [];
  /** How many commands were carried out (a resend is not). */
  done = 0;
  /** Sockets are not let in, and `status` is what a request gets (0: no answer at all). */
  refuse: number | null = null;
  /** Nothing that is sent is answered. */
  dead = false;
  /** The next ack is lost on its way. */
  loseAck = false;
  clock = Date.UTC(2026, 10, 21, 9);
  subscriptions = 64;

  private readonly following = new Map<Socket, Set<string>>();

  socket = (): WebSocket => {
    const socket = new Socket(this);
    this.sockets.push(socket);
    queueMicrotask(() => (this.refuse === null ? socket.open() : socket.end()));
    return socket as unknown as WebSocket;
  };

  get last(): Socket {
    const socket = this.sockets[this.sockets.length - 1];
    if (socket === undefined) {
      throw new Error('no socket yet');
    }
    return socket;
  }

  url = (path: string): string => `http://localhost/postdoc/${path}`;

  /** Set for REST answers: an object, null for "not found", or a whole `Response`. */
  rest: (path: string, init?: RequestInit) => object | null = path => (path === 'api/personas' ? [] : null);

  request = async (path: string, init?: RequestInit): Promise<Response> => {
    this.requests.push({ path, init });
    if (this.refuse === 0) {
      throw new TypeError('Failed to fetch');
    }
    if (this.refuse !== null) {
      return new Response('{}', { status: this.refuse });
    }
    const found = this.rest(path, init);
    if (found instanceof Response) {
      return found;
    }
    return new Response(JSON.stringify(found ?? { code: 'not_found', error: 'No.' }), {
      status: found === null ? 404 : 200,
      headers: { 'Content-Type': 'application/json' }
    });
  };

  log(chat = CHAT): EventFrame[] {
    const log = this.logs.get(chat) ?? [];
    this.logs.set(chat, log);
    return log;
  }

  /** Something happens in a session: it is in the log, and goes to who follows. */
  happen(body: object, chat = CHAT, partial = false): EventFrame {
    const log = this.log(chat);
    const seq = (log[log.length - 1]?.seq ?? 0) + 1;
    this.clock += 1000;
    const head = partial ? {} : { v: 1, ts: new Date(this.clock).toISOString() };
    const frame = { ...head, chatId: chat, seq, ...body } as EventFrame;
    log.push(frame);
    for (const [socket, chats] of this.following) {
      if (chats.has(chat) && socket.readyState === 1 && !this.dead) {
        socket.give(frame);
      }
    }
    return frame;
  }

  answer(socket: Socket, frame: Record<string, unknown>): void {
    if (socket.readyState !== 1 || this.dead) {
      return;
    }
    const chat = frame.chatId as string;
    const chats = this.following.get(socket) ?? new Set<string>();
    this.following.set(socket, chats);
    switch (frame.type) {
      case 'hello':
        socket.give({
          type: 'welcome',
          v: 1,
          ts: new Date(this.clock).toISOString(),
          server: 'postdoc/0',
          user: { name: 'ana', display: 'Ana' },
          caps: ['batch'],
          limits: { ...LIMITS, subscriptions: this.subscriptions },
          heartbeatMs: 20_000
        });
        return;
      case 'ping':
        socket.give({ type: 'pong', v: 1, ts: '' });
        return;
      case 'unsubscribe':
        chats.delete(chat);
        return;
      case 'subscribe':
        return this.subscribe(socket, chats, frame);
      default:
        return this.command(socket, frame);
    }
  }

  private subscribe(socket: Socket, chats: Set<string>, frame: Record<string, unknown>): void {
    const chat = frame.chatId as string;
    if (frame.sessions === true) {
      socket.give({ type: 'sessions', v: 1, ts: '', sessions: [] });
      return;
    }
    const log = this.logs.get(chat);
    const last = log?.[log.length - 1]?.seq ?? 0;
    if (log === undefined) {
      socket.give({ type: 'error', v: 1, ts: '', chatId: chat, code: 'not_found', error: 'There is none.' });
      return;
    }
    if (chats.size >= this.subscriptions - 1 && !chats.has(chat)) {
      socket.give({ type: 'error', v: 1, ts: '', chatId: chat, code: 'capacity', error: 'Too many.' });
      return;
    }
    chats.add(chat);
    if (typeof frame.after === 'number') {
      const after = frame.after;
      if (after > last) {
        chats.delete(chat);
        socket.give({ type: 'reset', v: 1, ts: '', chatId: chat });
      } else if (after < last) {
        socket.give(...log.filter(one => one.seq > after));
      }
      return;
    }
    socket.give({
      type: 'history',
      v: 1,
      ts: '',
      chatId: chat,
      messages: log,
      state: 'running',
      queue: [],
      fromSeq: log[0]?.seq ?? 0,
      throughSeq: last,
      hasMore: false
    });
  }

  private command(socket: Socket, frame: Record<string, unknown>): void {
    const id = frame.id as string;
    if (frame.content === 'refuse me') {
      const refusal = {
        code: 'queue_full',
        error: 'Eight messages wait already.',
        next: 'Wait.',
        retryable: false
      };
      socket.give({ type: 'error', v: 1, ts: '', id, chatId: frame.chatId, ...refusal });
      return;
    }
    const known = this.receipts.get(id);
    let receipt = known;
    if (receipt === undefined) {
      this.done += 1;
      const seq =
        frame.type === 'chat'
          ? this.happen(
              { type: 'user_message', id, content: frame.content, by: 'ana' },
              frame.chatId as string
            ).seq
          : 0;
      receipt = { seq };
      this.receipts.set(id, receipt);
    }
    if (this.loseAck) {
      this.loseAck = false;
      return;
    }
    const duplicate = known !== undefined;
    socket.give({
      type: 'ack',
      v: 1,
      ts: '',
      id,
      chatId: frame.chatId,
      duplicate,
      queued: false,
      ...receipt
    });
  }
}
