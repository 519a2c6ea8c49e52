/** Which agents and which kinds of messages are shown. Several of each; none chosen means all. */
import React from 'react';

import { useTrans } from '../../platform';
import { Button, Icon } from '../ui';
import type { Count, Filters } from './rooms';
import { NO_FILTERS, kindIcon, kindText, toggled } from './rooms';

interface RoomFiltersProps {
  filters: Filters;
  counts: { agents: Count[]; kinds: Count[] };
  onChange: (filters: Filters) => void;
}

export function RoomFilters({ filters, counts, onChange }: RoomFiltersProps): JSX.Element {
  const trans = useTrans();
  return (
    <div className="jp-Postdoc-RoomFilters">
      <div role="group" aria-label={trans.__('Kinds')}>
        {counts.kinds.map(({ value, count }) => (
          <Chip
            key={value}
            count={count}
            pressed={filters.kinds.includes(value)}
            onClick={() => onChange({ ...filters, kinds: toggled(filters.kinds, value) })}
          >
            <Icon name={kindIcon(value)} />
            {kindText(trans, value)}
          </Chip>
        ))}
      </div>
      <div role="group" aria-label={trans.__('Agents')}>
        {counts.agents.map(({ value, count }) => (
          <Chip
            key={value}
            count={count}
            pressed={filters.agents.includes(value)}
            onClick={() => onChange({ ...filters, agents: toggled(filters.agents, value) })}
          >
            {value}
          </Chip>
        ))}
      </div>
      {filters.agents.length + filters.kinds.length > 0 && (
        <Button kind="link" onClick={() => onChange(NO_FILTERS)}>
          {trans.__('Show all')}
        </Button>
      )}
    </div>
  );
}

interface ChipProps {
  pressed: boolean;
  count: number;
  onClick: () => void;
  children: React.ReactNode;
}

function Chip({ pressed, count, onClick, children }: ChipProps): JSX.Element {
  return (
    <button type="button" className="jp-Postdoc-RoomChip" aria-pressed={pressed} onClick={onClick}>
      {children}
      <span className="jp-Postdoc-RoomChip-count">{count}</span>
    </button>
  );
}
