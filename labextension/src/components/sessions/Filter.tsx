/** The box and the chips above the list. */
import React from 'react';

import { useTrans } from '../../platform';
import { Icon, IconButton, classes } from '../ui';
import type { Chip } from './order';

interface FilterProps {
  query: string;
  onQuery: (query: string) => void;
  chip: Chip;
  onChip: (chip: Chip) => void;
  counts: Record<Chip, number>;
  /** How many sessions are shown. */
  found: number;
}

const CHIPS: readonly Chip[] = ['all', 'needs', 'active', 'finished', 'failed'];

/** Filters by words, and by state; a chip is there only while it would show something. */
export function Filter({ query, onQuery, chip, onChip, counts, found }: FilterProps): JSX.Element {
  const trans = useTrans();
  const text: Record<Chip, string> = {
    all: trans.__('All'),
    needs: trans.__('Needs you'),
    active: trans.__('Active'),
    finished: trans.__('Finished'),
    failed: trans.__('Not finished')
  };
  const shown = CHIPS.filter(name => name === 'all' || counts[name] > 0);
  return (
    <div className="jp-Postdoc-Filter" role="search" aria-label={trans.__('Filter sessions')}>
      <div className="jp-Postdoc-Filter-box">
        <Icon name="search" />
        <input
          className="jp-Postdoc-Input"
          type="text"
          value={query}
          placeholder={trans.__('Filter')}
          aria-label={trans.__('Filter by title, result or template')}
          spellCheck={false}
          onChange={event => onQuery(event.target.value)}
          onKeyDown={event => {
            if (event.key === 'Escape' && query !== '') {
              event.stopPropagation();
              onQuery('');
            }
          }}
        />
        {query !== '' && (
          <IconButton icon="close" label={trans.__('Clear the filter')} onClick={() => onQuery('')} />
        )}
      </div>
      {shown.length > 2 && (
        <div className="jp-Postdoc-Filter-chips" role="group" aria-label={trans.__('Filter by state')}>
          {shown.map(name => (
            <button
              key={name}
              type="button"
              className={classes('jp-Postdoc-Chip', chip === name && 'jp-mod-on')}
              aria-pressed={chip === name}
              onClick={() => onChip(name)}
            >
              {text[name]}
              {name !== 'all' && <span className="jp-Postdoc-Chip-count"> {counts[name]}</span>}
            </button>
          ))}
        </div>
      )}
      <span className="jp-Postdoc-hidden" role="status">
        {query.trim() === '' ? '' : trans._n('%1 session found', '%1 sessions found', found)}
      </span>
    </div>
  );
}
