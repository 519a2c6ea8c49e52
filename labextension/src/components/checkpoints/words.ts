/** What a checkpoint did, in words. */
import type { CellChange, Checkpoint, CheckpointDiff } from '../../client';
import { plainLine } from '../../plain';
import type { Trans } from '../../platform';
import type { Change } from '../timeline/changes';

/** "2 cells added · 1 changed"; "" when the notebook stayed as it was. */
export function cellsSaid(trans: Trans, { added, changed, removed }: Checkpoint['cells']): string {
  const parts = [
    added > 0 && trans._n('%1 cell added', '%1 cells added', added),
    changed > 0 && trans._n('%1 cell changed', '%1 cells changed', changed),
    removed > 0 && trans._n('%1 cell removed', '%1 cells removed', removed)
  ];
  return parts.filter(Boolean).join(' · ');
}

/** The cells that differ, as the diffs of the timeline show them. */
export function changesIn(diff: CheckpointDiff): readonly Change[] {
  return diff.cells.flatMap(cell => (cell.change === 'same' ? [] : [changeOf(cell, cell.change)]));
}

function changeOf({ name, before, after }: CellChange, what: Change['what']): Change {
  return { name: plainLine(name), what, before, after };
}

/** A file beside the notebook, as far as the server tells what became of it. */
export interface FileChange {
  readonly path: string;
  readonly change: string;
}

export function filesIn(diff: CheckpointDiff): readonly FileChange[] {
  return diff.files.flatMap(file => {
    const { path, change } = (file ?? {}) as Partial<FileChange>;
    return typeof path === 'string' && typeof change === 'string' ? [{ path: plainLine(path), change }] : [];
  });
}

export function fileSaid(trans: Trans, change: string): string {
  return change === 'added'
    ? trans.__('added')
    : change === 'removed'
      ? trans.__('removed')
      : trans.__('changed');
}
