/** Calls of tools, and the notebook cells that they run. */
import type { Item, ToolItem } from '../model';
import { plainLine } from '../plain';
import type * as p from '../protocol';
import { cellOf, mergeCells } from './parts';
import type { Writable } from './rows';
import { Rows } from './rows';

export class Calls extends Rows {
  protected tool(frame: p.EventFrame & (p.ToolInput | p.ToolUse | p.ToolOutput | p.ToolResult)): void {
    const key = `c:${frame.toolId}`;
    this.put('tool', key, known => {
      const item: Writable<ToolItem> = known
        ? { ...known }
        : {
            ...this.base(frame, key),
            kind: 'tool',
            toolId: frame.toolId,
            name: '',
            title: '',
            input: null,
            inputText: '',
            status: 'asked',
            output: '',
            data: null,
            images: [],
            truncated: false,
            blob: null,
            durationMs: null,
            server: false,
            cells: []
          };
      switch (frame.type) {
        case 'tool_input':
          item.name = frame.toolName;
          item.inputText += frame.delta;
          item.status = 'writing';
          break;
        case 'tool_use':
          item.at ??= frame.ts ? Date.parse(frame.ts) : null;
          item.runId = frame.runId;
          item.name = frame.toolName;
          item.title = plainLine(frame.title ?? '');
          item.risk = frame.risk;
          item.input = frame.toolInput;
          item.inputText = '';
          item.parent = frame.parent;
          item.server = frame.server ?? false;
          item.status = frame.partial ? 'cut' : frame.server ? 'running' : 'asked';
          break;
        case 'tool_output':
          item.output += frame.delta;
          item.status = 'running';
          break;
        case 'tool_result':
          item.name = frame.toolName ?? item.name;
          item.status = frame.ok ? 'ok' : 'failed';
          item.output = frame.content;
          item.data = frame.data ?? null;
          item.images = frame.images ?? [];
          item.truncated = frame.truncated ?? false;
          item.blob = frame.blob ?? null;
          item.durationMs = frame.duration_ms ?? null;
          item.parent = frame.parent ?? item.parent;
          break;
      }
      return item;
    });
  }

  /** The newest call that fits is at work now. */
  protected begun(fits: (tool: ToolItem) => boolean): void {
    const items = this.list();
    for (let i = items.length - 1; i >= 0 && i > items.length - 40; i--) {
      const item = items[i] as Item;
      if (item.kind === 'tool' && fits(item)) {
        items[i] = { ...item, status: 'running' };
        return;
      }
    }
  }

  protected cell(frame: p.EventFrame & p.Cell): void {
    const at = this.callOf(frame.runId);
    const tool = at < 0 ? undefined : this.list()[at];
    if (tool?.kind === 'tool') {
      const status = tool.status === 'asked' ? 'running' : tool.status;
      this.list()[at] = { ...tool, status, cells: mergeCells(tool.cells, cellOf(frame)) };
    }
  }

  /**
   * The call that runs the cells now. The server does not say which; calls are carried out one after the other, so it
   * is, of the last calls of this run, the first notebook tool without a result; else the last one; else the last call.
   */
  protected callOf(run: string | undefined): number {
    const items = this.list();
    let open = -1;
    let notebook = -1;
    let last = -1;
    for (let i = items.length - 1; i >= 0 && i > items.length - 100; i--) {
      const item = items[i] as Item;
      // A call that is still being written is not carried out yet.
      if (item.kind !== 'tool' || item.status === 'writing' || (run !== undefined && item.runId !== run)) {
        continue;
      }
      last = last < 0 ? i : last;
      if (/(^|_)nb_/.test(item.name)) {
        notebook = notebook < 0 ? i : notebook;
        open = item.status === 'running' || item.status === 'asked' ? i : open;
      }
    }
    return open >= 0 ? open : notebook >= 0 ? notebook : last;
  }
}
