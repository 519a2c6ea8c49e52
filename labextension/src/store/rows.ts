/** The rows of a view while a batch of events is taken in: a draft whose list is copied once, when it first changes. */
import type { Item, NoticeItem, SessionView } from '../model';
import type * as p from '../protocol';
import { isOutgoing } from './view';

export type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** A view while a batch is taken in. */
export class Rows {
  protected view: Writable<SessionView>;
  protected items: Item[] | null = null;
  protected changed = false;

  constructor(
    private readonly before: SessionView,
    protected readonly now: number
  ) {
    this.view = { ...before };
  }

  done(): SessionView {
    if (!this.changed) {
      return this.before;
    }
    if (this.items !== null) {
      this.view.items = this.items;
    }
    return this.view;
  }

  // --- the list of items ---

  protected list(): Item[] {
    this.items ??= this.view.items.slice();
    return this.items;
  }

  protected find(key: string): number {
    const items = this.list();
    for (let i = items.length - 1; i >= 0; i--) {
      if (items[i]?.key === key) {
        return i;
      }
    }
    return -1;
  }

  /**
   * Add an item: in the order in which items began, so that a replay, in which text comes whole and late, has the same
   * order as what was seen live; and before what waits to be acknowledged.
   */
  protected add(item: Item): void {
    const items = this.list();
    let at = items.length;
    while (at > 0 && (isOutgoing(items[at - 1] as Item) || (items[at - 1] as Item).seq > item.seq)) {
      at -= 1;
    }
    items.splice(at, 0, item);
  }

  /** The item of this kind and key, changed; or a new one. */
  protected put<K extends Item['kind']>(
    kind: K,
    key: string,
    make: (known: Extract<Item, { kind: K }> | null) => Item
  ): void {
    const at = this.find(key);
    const known = at >= 0 ? (this.list()[at] as Item) : null;
    const item = make(known?.kind === kind ? (known as Extract<Item, { kind: K }>) : null);
    if (at >= 0) {
      this.list()[at] = item;
    } else {
      this.add(item);
    }
  }

  protected base(frame: p.EventFrame, key: string, known?: Item | null) {
    const at = frame.ts ? Date.parse(frame.ts) : NaN;
    const began = 'replaces' in frame ? Number(frame.replaces?.[0]) || frame.seq : frame.seq;
    return {
      key,
      seq: known?.seq || began,
      at: known?.at ?? (Number.isNaN(at) ? null : at),
      runId: ('runId' in frame ? frame.runId : undefined) ?? known?.runId
    };
  }

  protected notice(frame: p.EventFrame, notice: NoticeItem['notice'], text: string): void {
    this.add({ ...this.base(frame, `n:${frame.seq}`), kind: 'notice', notice, text });
  }

  /** Nothing is at work any more: what was open is cut off, and nothing spins. */
  protected closeAll(): void {
    const items = this.list();
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as Item;
      if (item.kind === 'text' && item.streaming) {
        items[i] = { ...item, streaming: false, partial: true };
      } else if (item.kind === 'thinking' && item.streaming) {
        items[i] = { ...item, streaming: false, endedAt: this.now };
      } else if (
        item.kind === 'tool' &&
        (item.status === 'writing' || item.status === 'asked' || item.status === 'running')
      ) {
        items[i] = { ...item, status: 'cut' };
      }
    }
  }
}
