/** What a call changed, from its input: cells of a notebook, or the text of a file. */
import type { Change as Part } from 'diff';
import { diffLines } from 'diff';

import type { Item, ToolItem } from '../../model';
import { recordOf, textIn } from '../../store/parts';

/** One changed piece. `before` is null when it is new or not known, `after` null when it was removed. */
export interface Change {
  readonly name: string;
  readonly what: 'added' | 'changed' | 'removed' | 'moved';
  readonly before: string | null;
  readonly after: string | null;
}

export interface Counts {
  readonly added: number;
  readonly removed: number;
}

/** A line of a diff. */
export interface DiffLine {
  readonly sign: '+' | '−' | ' ';
  readonly text: string;
}

const CONTEXT = 3;

/** The changes of a call, or null when it is no edit. `earlier` are the items before it: they tell what stood there. */
export function changesOf(tool: ToolItem, earlier: readonly Item[]): readonly Change[] | null {
  const input = tool.input;
  if (input === null) {
    return null;
  }
  if (tool.name === 'nb_edit' && Array.isArray(input.changes)) {
    const known = cellsBefore(tool, earlier);
    return input.changes.map(change => cellChange(recordOf(change), known));
  }
  if (tool.name === 'edit_file') {
    return [
      {
        name: textIn(input, 'path'),
        what: 'changed',
        before: textIn(input, 'old'),
        after: textIn(input, 'new')
      }
    ];
  }
  if (tool.name === 'write_file') {
    return [{ name: textIn(input, 'path'), what: 'added', before: null, after: textIn(input, 'content') }];
  }
  return null;
}

function cellChange(change: Record<string, unknown>, known: Map<string, string>): Change {
  const name = textIn(change, 'name');
  const before = known.get(name) ?? null;
  if (textIn(change, 'op') === 'delete') {
    return { name, what: 'removed', before, after: null };
  }
  if (textIn(change, 'op') === 'move') {
    return { name, what: 'moved', before: null, after: null };
  }
  const after = textIn(change, 'code');
  return { name, what: before === null ? 'added' : 'changed', before, after };
}

/** The cells as earlier calls of this session have left them, as far as it has them. */
function cellsBefore(tool: ToolItem, earlier: readonly Item[]): Map<string, string> {
  const cells = new Map<string, string>();
  for (const item of earlier) {
    if (item === tool || item.key === tool.key) {
      break;
    }
    if (
      item.kind === 'tool' &&
      item.name === 'nb_edit' &&
      item.status === 'ok' &&
      Array.isArray(item.input?.changes)
    ) {
      for (const change of item.input.changes.map(recordOf)) {
        if (textIn(change, 'op') === 'delete') {
          cells.delete(textIn(change, 'name'));
        } else if (textIn(change, 'op') === 'put') {
          cells.set(textIn(change, 'name'), textIn(change, 'code'));
        }
      }
    }
  }
  return cells;
}

/** How many lines may differ before nobody reads the difference any more, and looking for it takes too long. */
const MOST = 1500;

function partsOf({ before, after }: Change): Pick<Part, 'added' | 'removed' | 'value' | 'count'>[] {
  const old = ended(before ?? '');
  const now = ended(after ?? '');
  const whole = (value: string, added: boolean) =>
    value === '' ? [] : [{ value, added, removed: !added, count: value.split('\n').length - 1 }];
  if (old === '' || now === '') {
    return [...whole(old, false), ...whole(now, true)];
  }
  return diffLines(old, now, { maxEditLength: MOST }) ?? [...whole(old, false), ...whole(now, true)];
}

/** The lines of a change, with a little of what stays around it; null stands for lines that are left out. */
export function linesOf(change: Change): (DiffLine | null)[] {
  const parts = partsOf(change);
  const all: DiffLine[] = parts.flatMap(part => {
    const sign: DiffLine['sign'] = part.added ? '+' : part.removed ? '−' : ' ';
    return part.value
      .replace(/\n$/, '')
      .split('\n')
      .map(text => ({ sign, text }));
  });
  const near = all.map((_, i) =>
    all.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some(line => line.sign !== ' ')
  );
  const shown: (DiffLine | null)[] = [];
  all.forEach((line, i) => {
    if (near[i]) {
      shown.push(line);
    } else if (shown[shown.length - 1] !== null) {
      shown.push(null);
    }
  });
  return shown;
}

/** Lines added and removed by all of them. */
export function countsOf(changes: readonly Change[]): Counts {
  let added = 0;
  let removed = 0;
  for (const change of changes) {
    for (const part of partsOf(change)) {
      added += part.added ? part.count : 0;
      removed += part.removed ? part.count : 0;
    }
  }
  return { added, removed };
}

function ended(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}
