/** Frames as they come, before the reducer makes a view of them. */
import type { EventFrame, Frame } from '../protocol';

/** Frames that only make text longer: they may wait for the next flush. */
export const STREAMED: ReadonlySet<string> = new Set(['token', 'thinking', 'tool_input', 'tool_output']);

/** Events have a place in the log of a session; control frames have none (an ack names the place of another). */
export function isEvent(frame: Frame): frame is EventFrame {
  return 'seq' in frame && typeof frame.seq === 'number' && frame.type !== 'ack' && 'chatId' in frame;
}

/** Where the whole of an event is that was cut for its frame, else null. */
export function cutAddress(frame: EventFrame): string | null {
  const { truncated, blob } = frame as { truncated?: unknown; blob?: unknown };
  return truncated === true && typeof blob === 'string' && blob.startsWith('api/chats/') ? blob : null;
}

/** Add a batch to the events of a view; partial ones go when their final event comes. */
export function remember(frames: EventFrame[], batch: readonly EventFrame[]): void {
  for (const frame of batch) {
    if (frame.seq <= (frames[frames.length - 1]?.seq ?? 0)) {
      continue;
    }
    const range = 'replaces' in frame ? (frame.replaces as [number, number] | undefined) : undefined;
    if (range !== undefined) {
      let from = frames.length;
      while (from > 0 && (frames[from - 1] as EventFrame).seq >= range[0]) {
        from -= 1;
      }
      const kept = frames.splice(from).filter(one => !isPartOf(one, frame));
      frames.push(...kept);
    }
    frames.push(frame);
  }
}

function isPartOf(partial: EventFrame, final: EventFrame): boolean {
  if (!STREAMED.has(partial.type) || partial.ts !== undefined) {
    return false;
  }
  const a = partial as { itemId?: string; toolId?: string };
  const b = final as { itemId?: string; toolId?: string };
  return (
    (a.itemId !== undefined && a.itemId === b.itemId) || (a.toolId !== undefined && a.toolId === b.toolId)
  );
}
