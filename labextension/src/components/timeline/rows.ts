/** Which rows a timeline has: items, calls that belong together, and what a sub-agent did below the call it came from. */
import type { Item, ToolItem } from '../../model';

export interface FoldRow {
  readonly kind: 'fold';
  readonly key: string;
  readonly tools: readonly ToolItem[];
  /** Milliseconds that they took together. */
  readonly ms: number;
}

export interface ItemRow {
  readonly kind: 'item';
  readonly key: string;
  readonly item: Item;
  /** Calls of the sub-agent that this call started. */
  readonly children: readonly ToolItem[];
}

export type Row = FoldRow | ItemRow;

const FOLD_FROM = 3;
const NONE: readonly ToolItem[] = [];

/** Calls that say nothing the views do not show better: the plan is a card of its own. */
function isHidden(item: Item): boolean {
  return item.kind === 'tool' && item.name === 'plan' && item.status !== 'failed';
}

/** A finished call with nothing to look at. */
function isQuiet(item: Item): item is ToolItem {
  return (
    item.kind === 'tool' &&
    item.status === 'ok' &&
    item.images.length === 0 &&
    item.cells.length === 0 &&
    item.name !== 'finish'
  );
}

/** The rows for these items. Rows whose content is the same as before are the same objects. */
export class RowMaker {
  private before = new Map<string, Row>();

  make(items: readonly Item[], fold: boolean): readonly Row[] {
    const children = childrenOf(items);
    const rows: Row[] = [];
    let quiet: ToolItem[] = [];
    const close = () => {
      if (quiet.length >= FOLD_FROM) {
        const ms = quiet.reduce((sum, tool) => sum + (tool.durationMs ?? 0), 0);
        rows.push({ kind: 'fold', key: `f:${quiet[0]?.key}`, tools: quiet, ms });
      } else {
        rows.push(...quiet.map(item => row(item, children)));
      }
      quiet = [];
    };
    for (const item of items) {
      if (isHidden(item) || (item.kind === 'tool' && children.has(item.parent ?? ''))) {
        continue;
      }
      if (fold && isQuiet(item) && !children.has(item.toolId)) {
        quiet.push(item);
        continue;
      }
      close();
      rows.push(row(item, children));
    }
    close();
    return this.keep(rows);
  }

  private keep(rows: readonly Row[]): readonly Row[] {
    const made = rows.map(next => {
      const known = this.before.get(next.key);
      return known !== undefined && same(known, next) ? known : next;
    });
    this.before = new Map(made.map(one => [one.key, one]));
    return made;
  }
}

function row(item: Item, children: Map<string, ToolItem[]>): ItemRow {
  const below = item.kind === 'tool' ? children.get(item.toolId) : undefined;
  return { kind: 'item', key: item.key, item, children: below ?? NONE };
}

/** The calls of sub-agents, by the call that they are shown below; those whose call is not here stand for themselves. */
function childrenOf(items: readonly Item[]): Map<string, ToolItem[]> {
  const found = new Map<string, ToolItem[]>();
  const here = new Set(items.map(item => (item.kind === 'tool' ? item.toolId : '')));
  for (const item of items) {
    if (item.kind === 'tool' && item.parent !== undefined && here.has(item.parent)) {
      const known = found.get(item.parent);
      if (known === undefined) {
        found.set(item.parent, [item]);
      } else {
        known.push(item);
      }
    }
  }
  return found;
}

function same(a: Row, b: Row): boolean {
  if (a.kind === 'fold' && b.kind === 'fold') {
    return equal(a.tools, b.tools);
  }
  return a.kind === 'item' && b.kind === 'item' && a.item === b.item && equal(a.children, b.children);
}

function equal(a: readonly ToolItem[], b: readonly ToolItem[]): boolean {
  return a.length === b.length && a.every((tool, index) => tool === b[index]);
}
