/** One line of the timeline: what became of the publication. */
import React, { memo } from 'react';

import { dateTime } from '../../format';
import type { PublicationItem } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { SaidLine } from './SaidLine';
import { newsSaid } from './words';

export const PublicationRow = memo(function PublicationRow({ item }: { item: PublicationItem }) {
  const { language } = usePlatform();
  const trans = useTrans();
  return (
    <p className="jp-Postdoc-Notice" title={item.at === null ? undefined : dateTime(item.at, language)}>
      <SaidLine said={newsSaid(trans, item)} url={item.url} />
    </p>
  );
});
