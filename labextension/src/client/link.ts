/**
 * One socket to the server, and another when it is lost. It says hello, keeps the line alive, and tells in what state
 * it is; what goes over it is not its business.
 */
import type { Server } from '../client';
import type { Connection } from '../model';
import type { Frame, Welcome } from '../protocol';
import { Pace } from './pace';
import { EXPIRED, MISSING, problemOf } from './problems';

const FIRST_MS = 500;
const LONGEST_MS = 15_000;
const WELCOME_MS = 10_000;
/** Looked at every BEAT: after QUIET without a word a ping is sent, and its answer waited for as long as PONG. */
const BEAT_MS = 5_000;
const QUIET_MS = 9_000;
const PONG_MS = 9_000;
/** When there is reason to doubt the connection: the machine slept, the network changed. */
const DOUBT_MS = 4_000;
const MAX_WAIT_MS = 60_000;

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
  /** When the ping was sent that is not answered yet. A timer that came late proves nothing; silence after it does. */
  private pingedAt: number | null = null;
  private doubt: ReturnType<typeof setTimeout> | null = null;
  private pace: Pace | null = null;
  private everWelcomed = false;
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
    window.addEventListener('online', this.woken);
    window.addEventListener('offline', this.woken);
    document.addEventListener('visibilitychange', this.shown);
    this.connect();
  }

  dispose(): void {
    this.disposed = true;
    window.removeEventListener('online', this.woken);
    window.removeEventListener('offline', this.woken);
    document.removeEventListener('visibilitychange', this.shown);
    this.drop();
    if (this.retry !== null) {
      clearTimeout(this.retry);
    }
  }

  /** Since when there is no connection, by this machine's clock; null while there is one. */
  without(): number | null {
    return this.welcomed ? null : (this.lostAt ?? 0);
  }

  /** Sends when connected; otherwise it is the caller's to send again after the next welcome. */
  send(frame: object): boolean {
    if (this.pace === null || this.socket === null || this.socket.readyState !== 1) {
      return false;
    }
    this.pace.send(JSON.stringify(frame));
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
      this.woken();
    }
  };

  /** The network or the machine is back: connect now, or find out soon whether the socket is still alive. */
  private woken = (): void => {
    this.now();
    if (this.welcomed && this.doubt === null) {
      const { socket } = this;
      const at = Date.now();
      this.ping();
      this.doubt = setTimeout(() => {
        this.doubt = null;
        if (this.heardAt < at) {
          this.lost(socket);
        }
      }, DOUBT_MS);
    }
  };

  private ping(): void {
    if (this.send({ type: 'ping' })) {
      this.pingedAt ??= Date.now();
    }
  }

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
    this.beat = setInterval(this.check, BEAT_MS);
  }

  private heard(socket: WebSocket, data: unknown): void {
    if (socket !== this.socket || typeof data !== 'string') {
      return;
    }
    this.heardAt = Date.now();
    this.pingedAt = null;
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
      if (frame.type === 'bye' && Number.isFinite(frame.retryAfterMs)) {
        this.waitMs = Math.max(0, frame.retryAfterMs);
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
    this.everWelcomed = true;
    const { socket } = this;
    this.pace?.dispose();
    this.pace = new Pace(message => socket?.send(message), welcome.limits.perSecond, welcome.limits.burst);
    this.attempt = 0;
    this.lostAt = null;
    this.tell('connected', null);
    this.events.onWelcome(welcome);
  }

  /** A ping when it is quiet; the end when it gets no answer. Found at the latest 25 s after the line went dead. */
  private check = (): void => {
    if (!this.welcomed) {
      return; // the patience for the welcome is another timer
    }
    const now = Date.now();
    if (this.pingedAt !== null && now - this.pingedAt >= PONG_MS) {
      this.lost(this.socket);
    } else if (this.pingedAt === null && now - this.heardAt >= QUIET_MS) {
      this.ping();
    }
  };

  private drop(): void {
    const socket = this.socket;
    this.socket = null;
    this.welcomed = false;
    this.pingedAt = null;
    this.pace?.dispose();
    this.pace = null;
    if (this.doubt !== null) {
      clearTimeout(this.doubt);
      this.doubt = null;
    }
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
    const least = this.waitMs;
    const jitter = 0.75 + this.random() / 4;
    const ms = least === null ? most * jitter : Math.min(MAX_WAIT_MS, least * (0.5 + jitter));
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
    const login = response.redirected && !(response.headers.get('Content-Type') ?? '').includes('json');
    if (response.status === 401 || response.status === 403 || login) {
      this.tell('expired', planned, EXPIRED);
    } else if (response.status === 404 && !this.everWelcomed) {
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
