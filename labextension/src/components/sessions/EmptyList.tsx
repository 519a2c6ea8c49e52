/** What the list shows while it has no rows: not loaded yet, no server, or no research so far. */
import React, { useEffect } from 'react';

import { useNavigation } from '../../navigation';
import { usePlatform, useSelected, useTrans } from '../../platform';
import { Button, Card, Empty, Icon } from '../ui';
import { newRoute } from './actions';
import type { Catalogue } from './catalogue';
import { useAfter } from './hooks';
import { CopyCommand, MissingText, Reconnecting } from './Missing';
import { NoKeyCard } from './NoKeyCard';
import { listed } from './order';

/** Templates that the empty list offers. */
const OFFERED = 3;
const SKELETON_MS = 300;

/** Three rows without content, once loading has taken a moment. */
export function Skeleton(): JSX.Element {
  const trans = useTrans();
  const late = useAfter(true, SKELETON_MS);
  return (
    <div className="jp-Postdoc-ListSkeleton" aria-busy="true">
      {late && (
        <>
          <span className="jp-Postdoc-hidden" role="status">
            {trans.__('Loading sessions…')}
          </span>
          {[0, 1, 2].map(index => (
            <div key={index} className="jp-Postdoc-ListSkeleton-row" aria-hidden="true">
              <span />
              <span />
              <span />
            </div>
          ))}
        </>
      )}
    </div>
  );
}

/** No list, and no server that would send one: why, and what to do. */
export function NoAnswer(): JSX.Element {
  const trans = useTrans();
  const { client } = usePlatform();
  const { state, problem } = useSelected(all => all.connection);
  if (state === 'missing') {
    return (
      <Card
        tone="warn"
        className="jp-Postdoc-NoAnswer"
        actions={
          <>
            <Button icon="refresh" onClick={() => client.retryNow()}>
              {trans.__('Retry')}
            </Button>
            <CopyCommand />
          </>
        }
      >
        <MissingText />
      </Card>
    );
  }
  if (state === 'expired') {
    return (
      <Empty
        icon="key"
        title={trans.__('Your Jupyter login expired. Reload the page.')}
        actions={<Button onClick={() => window.location.reload()}>{trans.__('Reload')}</Button>}
      />
    );
  }
  return (
    <Empty
      icon="plug"
      title={state === 'offline' ? trans.__('You are offline.') : trans.__('The server does not answer.')}
      actions={
        <Button icon="refresh" onClick={() => client.retryNow()}>
          {trans.__('Now')}
        </Button>
      }
    >
      <p>
        {problem
          ? `${problem.error} ${problem.next}`
          : trans.__('What runs there goes on without this page.')}
      </p>
      <p>
        <Reconnecting />
      </p>
    </Empty>
  );
}

interface EmptyListProps {
  catalogue: Catalogue;
  /** Shown below when everything there is has been archived. */
  archived: React.ReactNode;
}

/** No research yet: what this is, and three ways to begin. */
export function EmptyList({ catalogue, archived }: EmptyListProps): JSX.Element {
  const trans = useTrans();
  const navigation = useNavigation();
  const { client } = usePlatform();
  const anyArchived = useSelected(state => listed(state.sessions).length > 0);
  useEffect(() => {
    // Only to know whether there are any; the list itself is not waiting for it.
    client.loadArchived().catch(() => undefined);
  }, [client]);
  const offered = catalogue.templates?.slice(0, OFFERED) ?? [];
  return (
    <div className="jp-Postdoc-Sessions">
      <div className="jp-Postdoc-Sessions-scroll">
        <Empty
          icon="notebook"
          title={trans.__('No research yet.')}
          actions={
            <Button kind="accept" icon="add" onClick={() => navigation.go(newRoute())}>
              {trans.__('New research')}
            </Button>
          }
        >
          <p>
            {trans.__(
              'Describe a question; the agent writes a marimo notebook and, if you want, a GitHub repository.'
            )}
          </p>
        </Empty>
        {offered.length > 0 && (
          <div className="jp-Postdoc-Offers">
            <h3 className="jp-Postdoc-Offers-title">{trans.__('Begin with a template')}</h3>
            <ul>
              {offered.map(template => (
                <li key={template.name}>
                  <button
                    type="button"
                    className="jp-Postdoc-Offer"
                    onClick={() => navigation.go(newRoute({ template: template.name }))}
                  >
                    <span className="jp-Postdoc-Offer-title">
                      {template.title}
                      <Icon name="chevron" />
                    </span>
                    <span className="jp-Postdoc-Offer-summary">{firstSentence(template.summary)}</span>
                  </button>
                </li>
              ))}
            </ul>
          </div>
        )}
        <NoKeyCard models={catalogue.models} />
        {anyArchived && archived}
      </div>
    </div>
  );
}

/** The question that a template answers: its summary begins with it. */
function firstSentence(text: string): string {
  return /^.*?[.?!](?=\s|$)/s.exec(text)?.[0] ?? text;
}
