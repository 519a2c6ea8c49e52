/** Lines between what is said and done: commits, and things worth knowing. */
import React, { memo, useState } from 'react';

import { useNavigation } from '../../navigation';
import { dateTime } from '../../format';
import type { CheckpointItem, NoticeItem } from '../../model';
import type { Trans } from '../../platform';
import { usePlatform, useSelected, useTrans } from '../../platform';
import type { IconName } from '../ui';
import { Disclosure, Icon, Menu } from '../ui';

/** A whole commit id: with it, the other session gets a project of its own that begins there. */
const COMMIT = /^[0-9a-f]{40}$/;

/** A commit, from which another session can begin. */
export const CheckpointRow = memo(function CheckpointRow({
  item,
  session
}: {
  item: CheckpointItem;
  session: string;
}) {
  const platform = usePlatform();
  const navigation = useNavigation();
  const trans = useTrans();
  const [problem, setProblem] = useState<string | null>(null);
  const fork = () => {
    setProblem(null);
    platform.client.fork(session, item.seq, COMMIT.test(item.commit) ? item.commit : undefined).then(
      id => {
        const route = navigation.get();
        if (route.view === 'session' && route.id === session) {
          navigation.go({ view: 'session', id }); // who has gone elsewhere meanwhile is left there
        }
      },
      (error: unknown) => setProblem(error instanceof Error ? error.message : String(error))
    );
  };
  return (
    <div
      className="jp-Postdoc-Checkpoint"
      title={item.at === null ? undefined : dateTime(item.at, platform.language)}
    >
      <Icon name="commit" />
      <span className="jp-Postdoc-Checkpoint-title">{item.title}</span>
      {item.commit !== '' && <code>{item.commit.slice(0, 7)}</code>}
      <Menu
        label={trans.__('Checkpoint “%1”', item.title)}
        items={[
          { label: trans.__('Fork from here'), icon: 'branch', onSelect: fork },
          {
            label: trans.__('Copy commit id'),
            icon: 'copy',
            onSelect: () => void platform.copy(item.commit)
          }
        ]}
      />
      {problem !== null && <span role="alert">{problem}</span>}
    </div>
  );
});

/** `who`: "" when nobody knows. */
function handed(trans: Trans, who: string, mine: boolean, what: 'taken' | 'given'): string {
  if (mine) {
    return what === 'taken'
      ? trans.__('You took the notebook over.')
      : trans.__('You gave the notebook back.');
  }
  if (what === 'taken') {
    return who ? trans.__('%1 took the notebook over.', who) : trans.__('The notebook was taken over.');
  }
  return who ? trans.__('%1 gave the notebook back.', who) : trans.__('The notebook was given back.');
}

const ICONS: Record<NoticeItem['notice'], IconName> = {
  retry: 'refresh',
  summary: 'list',
  resumed: 'play',
  stopped: 'square',
  interrupted: 'plug',
  answered: 'check',
  taken: 'hand',
  given: 'undo'
};

export const NoticeRow = memo(function NoticeRow({ item }: { item: NoticeItem }) {
  const trans = useTrans();
  const me = useSelected(state => state.user?.display);
  if (item.notice === 'summary') {
    return (
      <div className="jp-Postdoc-Notice">
        <Disclosure
          summary={
            <>
              <Icon name={ICONS.summary} />
              <span>{trans.__('The conversation was summed up for the model; nothing here is lost.')}</span>
            </>
          }
        >
          <div className="jp-Postdoc-Thinking-text">{item.text}</div>
        </Disclosure>
      </div>
    );
  }
  const text =
    item.notice === 'stopped'
      ? trans.__('Stopped by you. What was made so far is kept.')
      : item.notice === 'interrupted'
        ? trans.__('The server restarted during this run. What was finished is kept.')
        : item.notice === 'taken' || item.notice === 'given'
          ? handed(trans, item.text, item.text !== '' && item.text === me, item.notice)
          : item.text;
  return (
    <p className="jp-Postdoc-Notice">
      <Icon name={ICONS[item.notice]} />
      <span>{text}</span>
    </p>
  );
});
