/**
 * One socket to the server, and another when it is lost. It says hello, keeps the line alive, and tells in what state
 * it is; what goes over it is not its business.
 */
import type { Server } from '../client';
import type { Connection } from '../model';
import type { Frame, Welcome } from '../protocol';
import { EXPIRED, MISSING, problemOf } from './problems';

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
const WELCOME_MS = 10_000;
const QUIET_MS = 10_000;
const DEAD_MS = 25_000;

export interface LinkEvents {
  /** The server said welcome: everything that was followed is to be asked for again. */
  onWelcome(welcome: Welcome): void;
  /** All frames of one message. */
  onFrames(frames: readonly Frame[]): void;
  onState(connection: Connection): void;
}

export class Link {
  private socket: WebSocket | null = null;
  private welcomed = false;
  private attempt = 0;
  private heardAt = 0;
  private lostAt: number | null = null;
  private retry: ReturnType<typeof setTimeout> | null = null;
  private beat: ReturnType<typeof setInterval> | null = null;
  private patience: ReturnType<typeof setTimeout> | null = null;
  private waitMs: number | null = null;
  private disposed = false;
  private probing = 0;

  constructor(
    private readonly server: Server,
    private readonly name: string,
    private readonly events: LinkEvents,
    private readonly random: () => number = Math.random
  ) {}

  start(): void {
    window.addEventListener('online', this.now);
    document.addEventListener('visibilitychange', this.shown);
    this.connect();
  }

  dispose(): void {
    this.disposed = true;
    window.removeEventListener('online', this.now);
    document.removeEventListener('visibilitychange', this.shown);
    this.drop();
    if (this.retry !== null) {
      clearTimeout(this.retry);
    }
  }

  get connected(): boolean {
    return this.welcomed;
  }

  /** Sends when connected; otherwise it is the caller's to send again after the next welcome. */
  send(frame: object): boolean {
    if (!this.welcomed || this.socket === null || this.socket.readyState !== 1) {
      return false;
    }
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** Try at once, whatever was planned. */
  now = (): void => {
    if (!this.disposed && this.socket === null) {
      this.attempt = 0;
      this.connect();
    }
  };

  private shown = (): void => {
    if (document.visibilityState === 'visible') {
      this.now();
      this.check(); // a machine that slept has a dead socket that nobody told of
    }
  };

  private connect(): void {
    if (this.retry !== null) {
      clearTimeout(this.retry);
      this.retry = null;
    }
    this.tell(this.lostAt === null ? 'connecting' : 'reconnecting', null);
    let socket: WebSocket;
    try {
      socket = this.server.socket('ws');
    } catch {
      this.lost(null);
      return;
    }
    this.socket = socket;
    this.heardAt = Date.now();
    this.patience = setTimeout(() => this.lost(socket), WELCOME_MS);
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', client: this.name, caps: ['batch'] }));
    socket.onmessage = event => this.heard(socket, event.data);
    socket.onclose = event => this.lost(socket, event);
    this.beat = setInterval(this.check, 5_000);
  }

  private heard(socket: WebSocket, data: unknown): void {
    if (socket !== this.socket || typeof data !== 'string') {
      return;
    }
    this.heardAt = Date.now();
    let frames: Frame[];
    try {
      const read: unknown = JSON.parse(data);
      frames = (Array.isArray(read) ? read : [read]) as Frame[];
    } catch {
      return; // not of our protocol
    }
    const welcome = frames.find((frame): frame is Welcome => frame.type === 'welcome');
    if (welcome !== undefined) {
      this.welcome(welcome);
    }
    for (const frame of frames) {
      if (frame.type === 'bye') {
        this.waitMs = frame.retryAfterMs;
      }
    }
    this.events.onFrames(frames);
  }

  private welcome(welcome: Welcome): void {
    if (this.patience !== null) {
      clearTimeout(this.patience);
      this.patience = null;
    }
    this.welcomed = true;
    this.attempt = 0;
    this.lostAt = null;
    this.tell('connected', null);
    this.events.onWelcome(welcome);
  }

  /** A ping when it is quiet; the end when nothing has come for too long. */
  private check = (): void => {
    const quiet = Date.now() - this.heardAt;
    if (this.socket === null) {
      return;
    }
    if (quiet > DEAD_MS) {
      this.lost(this.socket);
    } else if (quiet > QUIET_MS) {
      this.send({ type: 'ping' });
    }
  };

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    this.welcomed = false;
    if (this.patience !== null) {
      clearTimeout(this.patience);
      this.patience = null;
    }
    if (this.beat !== null) {
      clearInterval(this.beat);
      this.beat = null;
    }
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      try {
        socket.close();
      } catch {
        // it was never open
      }
    }
  }

  private lost(socket: WebSocket | null, event?: CloseEvent): void {
    if (socket !== this.socket || this.disposed) {
      return;
    }
    const hadWelcome = this.welcomed;
    this.drop();
    this.lostAt ??= Date.now();
    if (event?.code === 4401 || event?.code === 4403) {
      this.plan('expired');
      return;
    }
    const offline = typeof navigator !== 'undefined' && navigator.onLine === false;
    this.plan(offline ? 'offline' : 'reconnecting');
    if (!hadWelcome && !offline) {
      void this.probe();
    }
  }

  /** Plan the next attempt: twice as long after each, with jitter, so that many tabs do not come back at once. */
  private plan(state: Connection['state'], problem: Connection['problem'] = null): void {
    const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.attempt);
    const ms = this.waitMs ?? most * (0.75 + this.random() / 4);
    this.waitMs = null;
    this.attempt += 1;
    if (this.retry !== null) {
      clearTimeout(this.retry);
    }
    this.retry = setTimeout(() => {
      this.retry = null;
      this.connect();
    }, ms);
    this.tell(state, Date.now() + ms, problem);
  }

  /** A browser does not say why a socket was refused; a plain request does. */
  private async probe(): Promise<void> {
    const mine = ++this.probing;
    let response: Response;
    try {
      response = await this.server.request('api/personas');
    } catch {
      return; // nobody answers: as planned
    }
    if (mine !== this.probing || this.welcomed || this.disposed) {
      return;
    }
    const planned = this.retry === null ? null : this.retryAt;
    if (response.status === 401 || response.status === 403) {
      this.tell('expired', planned, EXPIRED);
    } else if (response.status === 404) {
      this.tell('missing', planned, MISSING);
    } else if (!response.ok) {
      const body: unknown = await response.json().catch(() => null);
      this.tell('reconnecting', planned, problemOf(body, response.status));
    }
  }

  private retryAt: number | null = null;
  private last: Connection | null = null;

  private tell(state: Connection['state'], retryAt: number | null, problem?: Connection['problem']): void {
    this.retryAt = retryAt;
    // What the last probe found out stays true while the next attempt is made.
    const stays = this.last !== null && (this.last.state === 'expired' || this.last.state === 'missing');
    const shown: Connection['state'] =
      stays && (state === 'reconnecting' || state === 'connecting') && problem === undefined && this.last
        ? this.last.state
        : state;
    const reason = problem ?? (shown === 'expired' ? EXPIRED : shown === 'missing' ? MISSING : null);
    this.last = { state: shown, lostAt: this.lostAt, retryAt, problem: reason };
    this.events.onState(this.last);
  }
}
