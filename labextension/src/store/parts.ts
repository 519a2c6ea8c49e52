/** Reading what came over the wire: nothing in it is taken on trust. */
import type { CellItem, CellOutput } from '../model';
import type { Cell } from '../protocol';

/** The value as an object, an empty one when it is none. */
export function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
}

export function textIn(record: Record<string, unknown>, name: string): string {
  const value = record[name];
  return typeof value === 'string' ? value : '';
}

export function numberIn(record: Record<string, unknown>, name: string): number | null {
  const value = record[name];
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** The state of a cell as an event tells it. */
export function cellOf(frame: Cell): CellItem {
  const items = recordOf(frame.output).items;
  return {
    notebook: frame.notebook,
    cell: frame.cell,
    status: frame.status,
    outputs: Array.isArray(items) ? items.map(outputOf) : [],
    error: frame.error ?? null,
    durationMs: frame.duration_ms ?? null
  };
}

function outputOf(value: unknown): CellOutput {
  const item = recordOf(value);
  const columns = item.columns;
  const rows = item.rows;
  return {
    kind: textIn(item, 'kind'),
    text: textIn(item, 'text'),
    ...(textIn(item, 'blob') ? { blob: textIn(item, 'blob'), mediaType: textIn(item, 'mediaType') } : {}),
    ...(Array.isArray(columns) && Array.isArray(rows)
      ? {
          columns: columns.map(String),
          rows: rows.map(row => (Array.isArray(row) ? row.map(String) : [String(row)]))
        }
      : {})
  };
}

/** The cells with one of them brought up to date; a cell keeps the place at which it first ran. */
export function mergeCells(cells: readonly CellItem[], cell: CellItem): readonly CellItem[] {
  const at = cells.findIndex(known => known.cell === cell.cell && known.notebook === cell.notebook);
  return at < 0 ? [...cells, cell] : cells.map((known, i) => (i === at ? cell : known));
}
