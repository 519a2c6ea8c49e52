/** No more messages a second than the server takes: what is too fast waits here, in order. */
const SHARE = 0.8;

/** The pace of one connection: `burst` messages at once, then `perSecond`. */
export class Pace {
  private queue: string[] = [];
  private left: number;
  private at = Date.now();
  private timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    private readonly put: (message: string) => void,
    private readonly perSecond: number,
    private readonly burst: number
  ) {
    this.left = burst * SHARE;
  }

  send(message: string): void {
    this.queue.push(message);
    this.flush();
  }

  /** Let go of what waits: after a reconnection everything is asked for again. */
  dispose(): void {
    this.queue = [];
    if (this.timer !== null) {
      clearTimeout(this.timer);
    }
  }

  private flush(): void {
    const now = Date.now();
    const rate = (this.perSecond * SHARE) / 1000;
    this.left = Math.min(this.burst * SHARE, this.left + Math.max(0, now - this.at) * rate);
    this.at = now;
    while (this.left >= 1 && this.queue.length > 0) {
      this.left -= 1;
      this.put(this.queue.shift() as string);
    }
    if (this.queue.length > 0 && this.timer === null) {
      this.timer = setTimeout(
        () => {
          this.timer = null;
          this.flush();
        },
        Math.ceil((1 - this.left) / rate)
      );
    }
  }
}
