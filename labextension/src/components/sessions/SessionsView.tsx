/** The list of research: what needs the user, what is at work, what has come to rest. */
import React, { useDeferredValue, useMemo, useState } from 'react';

import type { ChatInfo, State } from '../../model';
import { useNavigation, useRoute } from '../../navigation';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { GitHubNotice } from '../publish/GitHubNotice';
import { Banner, Button, Disclosure, IconButton } from '../ui';
import { newRoute, useActions } from './actions';
import { useCatalogue } from './catalogue';
import { EmptyList, NoAnswer, Skeleton } from './EmptyList';
import { Filter } from './Filter';
import { useMinute } from './hooks';
import { NoKeyCard } from './NoKeyCard';
import { chipCounts, grouped, listed, matches, passes } from './order';
import type { Chip, GroupName } from './order';
import { useSeen } from './seen';
import { SessionList } from './SessionList';

const sessionsOf = (state: State) => state.sessions;
const connectionOf = (state: State) => state.connection;

/** The sessions view. */
export function SessionsView(): JSX.Element {
  const sessions = useSelected(sessionsOf);
  const { state } = useSelected(connectionOf);
  const catalogue = useCatalogue();
  const all = useMemo(() => listed(sessions), [sessions]);

  if (sessions === null) {
    return state === 'connecting' || state === 'connected' ? <Skeleton /> : <NoAnswer />;
  }
  if (all.every(info => info.archived)) {
    return <EmptyList catalogue={catalogue} archived={<Archived archived={all} catalogue={catalogue} />} />;
  }
  return <FullList all={all} catalogue={catalogue} />;
}

interface ListProps {
  catalogue: ReturnType<typeof useCatalogue>;
}

/** What each list of sessions needs to show its rows. */
function useRows({ catalogue }: ListProps) {
  const trans = useTrans();
  const { templates, models } = catalogue;
  return useMemo(() => {
    const templateTitles = new Map(templates?.map(template => [template.name, template.title]));
    const labels = new Map(models?.map(model => [model.id, model.label]));
    return {
      templateOf: (info: ChatInfo) =>
        !info.template ? '' : (templateTitles.get(info.template) ?? info.template),
      modelOf: (info: ChatInfo) =>
        info.provider === 'template'
          ? trans.__('no AI model')
          : !info.model
            ? ''
            : (labels.get(info.model) ?? info.model)
    };
  }, [templates, models, trans]);
}

function useCurrent(): string | null {
  const route = useRoute();
  return route.view === 'session' ? route.id : null;
}

function FullList({ all, catalogue }: ListProps & { all: readonly ChatInfo[] }): JSX.Element {
  const trans = useTrans();
  const navigation = useNavigation();
  const actions = useActions();
  const rows = useRows({ catalogue });
  const seen = useSeen();
  const now = useMinute();
  const current = useCurrent();
  const [typed, setQuery] = useState('');
  const query = useDeferredValue(typed); // typing goes before filtering a thousand rows
  const [chosen, setChip] = useState<Chip>('all');

  const counts = useMemo(() => chipCounts(all), [all]);
  const chip = counts[chosen] > 0 ? chosen : 'all'; // nothing is left of that kind: show the rest
  const groups = useMemo(
    () =>
      grouped(
        all.filter(
          info =>
            !info.archived &&
            passes(info, chip) &&
            (query.trim() === '' || matches(info, query.trim(), rows.templateOf(info)))
        )
      ),
    [all, chip, query, rows]
  );
  const found = groups.reduce((sum, group) => sum + group.sessions.length, 0);
  const heading = (name: GroupName): string | null => {
    switch (name) {
      case 'needs':
        return trans.__('Needs you');
      case 'active':
        return trans.__('Active');
      case 'recent':
        return trans.__('Recent');
      case 'archived':
        return null;
    }
  };

  return (
    <div className="jp-Postdoc-Sessions">
      <Filter query={typed} onQuery={setQuery} chip={chip} onChip={setChip} counts={counts} found={found} />
      <div className="jp-Postdoc-Sessions-scroll">
        {actions.problem && (
          <Banner
            tone="error"
            role="alert"
            actions={<IconButton icon="close" label={trans.__('Dismiss')} onClick={actions.dismiss} />}
          >
            {actions.problem.error} {actions.problem.next}
          </Banner>
        )}
        <GitHubNotice />
        <NoKeyCard models={catalogue.models} />
        {found === 0 ? (
          <div className="jp-Postdoc-Sessions-none">
            <p>{trans.__('No session matches.')}</p>
            <Button
              kind="link"
              onClick={() => {
                setQuery('');
                setChip('all');
              }}
            >
              {trans.__('Show all')}
            </Button>
            <Button kind="link" onClick={() => navigation.go(newRoute({ topic: query.trim() || undefined }))}>
              {trans.__('New research')}
            </Button>
          </div>
        ) : (
          <SessionList
            label={trans.__('Research sessions')}
            groups={groups}
            heading={heading}
            current={current}
            seen={seen}
            now={now}
            actions={actions}
            {...rows}
          />
        )}
        <Archived archived={all} catalogue={catalogue} query={query} />
      </div>
    </div>
  );
}

/** The archived sessions, closed at first; they are asked for when it is opened. */
function Archived(props: ListProps & { archived: readonly ChatInfo[]; query?: string }): JSX.Element {
  const { archived, catalogue, query = '' } = props;
  const trans = useTrans();
  const { client } = usePlatform();
  const actions = useActions();
  const rows = useRows({ catalogue });
  const now = useMinute();
  const current = useCurrent();
  const [asked, setAsked] = useState<'no' | 'asked' | 'known' | 'failed'>('no');
  const [open, setOpen] = useState(false);
  const groups = useMemo(
    () =>
      grouped(
        archived.filter(
          info => info.archived && (query.trim() === '' || matches(info, query.trim(), rows.templateOf(info)))
        )
      ),
    [archived, query, rows]
  );
  const load = () => {
    setAsked('asked');
    client.loadArchived().then(
      () => setAsked('known'),
      () => setAsked('failed')
    );
  };
  return (
    <Disclosure
      className="jp-Postdoc-Archived"
      summary={trans.__('Archived')}
      open={open}
      onToggle={next => {
        setOpen(next);
        if (next) {
          load();
        }
      }}
    >
      {actions.problem && (
        <p role="alert">
          {actions.problem.error} {actions.problem.next}
        </p>
      )}
      {groups.length > 0 ? (
        <SessionList
          label={trans.__('Archived sessions')}
          groups={groups}
          heading={() => null}
          current={current}
          seen={null}
          now={now}
          actions={actions}
          {...rows}
        />
      ) : asked === 'failed' ? (
        <p role="alert">
          {trans.__('The archived sessions could not be loaded.')}{' '}
          <Button kind="link" onClick={load}>
            {trans.__('Retry')}
          </Button>
        </p>
      ) : asked === 'known' ? (
        <p>{query.trim() === '' ? trans.__('Nothing is archived.') : trans.__('No session matches.')}</p>
      ) : (
        <p>{trans.__('Loading archived sessions…')}</p>
      )}
    </Disclosure>
  );
}
