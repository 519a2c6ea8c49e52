/** How a run ended: its result, or what went wrong. */
import React, { memo, useState } from 'react';

import { count, duration, money } from '../../format';
import type { Artifact, ErrorItem, ResultItem } from '../../model';
import type { Trans } from '../../platform';
import { usePlatform, useTrans } from '../../platform';
import { numberIn, textIn } from '../../store/parts';
import { useTalk } from '../session/talk';
import { Button, Card, Disclosure, Icon } from '../ui';
import { MarkdownText } from './MarkdownText';
import { reportOf } from './report';

function decimalsOf(value: number): number {
  return figure(value).split('.')[1]?.length ?? 0;
}

/** A number with as many digits as a reader can use. */
function figure(value: number): string {
  return Math.abs(value) >= 1000 || value === 0 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

function Verdict({ verdict }: { verdict: Readonly<Record<string, unknown>> }): JSX.Element {
  const trans = useTrans();
  const supported = verdict.supported;
  const estimate = numberIn(verdict, 'estimate');
  const low = numberIn(verdict, 'ci_low');
  const high = numberIn(verdict, 'ci_high');
  const unit = textIn(verdict, 'unit');
  // The bounds are written as finely as the estimate.
  const decimals = Math.min(6, decimalsOf(estimate ?? low ?? 0));
  const pValue = numberIn(verdict, 'p_value');
  const n = numberIn(verdict, 'n_obs');
  const limits = Array.isArray(verdict.limits) ? verdict.limits.map(String) : [];
  return (
    <div className="jp-Postdoc-Verdict">
      <p className="jp-Postdoc-Verdict-word">
        <Icon name={supported === true ? 'check' : supported === false ? 'close' : 'help'} />
        {supported === true
          ? trans.__('Supported')
          : supported === false
            ? trans.__('Not supported')
            : trans.__('Undecided')}
      </p>
      <p className="jp-Postdoc-Verdict-claim">{textIn(verdict, 'claim')}</p>
      {estimate !== null && (
        <p className="jp-Postdoc-Verdict-figure">
          <span className="jp-Postdoc-Verdict-number">{figure(estimate)}</span> {unit}
          {low !== null && high !== null && (
            <span>
              {' '}
              {trans.__('(95 % interval %1 to %2)', low.toFixed(decimals), high.toFixed(decimals))}
            </span>
          )}
        </p>
      )}
      <p className="jp-Postdoc-Small">
        {[
          pValue !== null ? (pValue < 0.0001 ? 'p < 0.0001' : `p = ${figure(pValue)}`) : null,
          n !== null ? trans.__('n = %1', n) : null
        ]
          .filter(Boolean)
          .join(' · ')}
      </p>
      {limits.length > 0 && (
        <Disclosure summary={trans._n('%1 limit of this result', '%1 limits of this result', limits.length)}>
          <ul className="jp-Postdoc-Limits">
            {limits.map((limit, index) => (
              <li key={index}>{limit}</li>
            ))}
          </ul>
        </Disclosure>
      )}
    </div>
  );
}

interface ResultProps {
  item: ResultItem;
  session: string;
  title: string;
  artifacts: Readonly<Record<string, Artifact>>;
  /** The last thing that happened, and nothing is at work: it can be followed up. */
  newest: boolean;
  /** The error above says why it ended. */
  told: boolean;
}

/** Asks the session's composer to take the focus. */
export function compose(from: HTMLElement, text?: string): void {
  from.dispatchEvent(new CustomEvent('postdoc:compose', { bubbles: true, detail: { text } }));
}

/** The end of a turn of conversation in a word, where what is above it says the rest; null: it needs a card. */
function shortEnd(trans: Trans, item: ResultItem, study: boolean): string | null {
  if (item.stopReason === 'cancelled') {
    return trans.__('Taken back before it was read');
  }
  if (item.verdict !== null || study) {
    return null;
  }
  if (item.stopReason === 'stopped') {
    return trans.__('Stopped');
  }
  return item.success && !item.partial ? trans.__('Done') : null;
}

export const ResultCard = memo(function ResultCard(props: ResultProps) {
  const { item, session, title, artifacts, newest, told } = props;
  const platform = usePlatform();
  const trans = useTrans();
  const talks = useTalk();
  const { openReport, openNotebook, openFolder } = platform;
  const notebook = artifacts.notebook?.path;
  const repo = artifacts.repo?.path;
  const stops: Record<string, string> = {
    budget: trans.__('It stopped at its limit of cost.'),
    max_turns: trans.__('It stopped at its limit of turns.'),
    user: trans.__('It was stopped.'),
    refusal: trans.__('The model declined.'),
    retries: trans.__('It gave up after several attempts.')
  };
  if (item.publishing) {
    return (
      <p className="jp-Postdoc-Done">
        {[
          item.summary || (item.success ? trans.__('Published') : trans.__('The publication stopped')),
          duration(item.durationMs, trans)
        ]
          .filter(Boolean)
          .join(' · ')}
      </p>
    );
  }
  const short = told ? trans.__('Ended') : shortEnd(trans, item, artifacts.notebook !== undefined);
  if (short !== null) {
    return (
      <p className="jp-Postdoc-Done">
        {[
          short,
          ...(item.stopReason === 'cancelled' ? [] : [duration(item.durationMs, trans), money(item.cost)])
        ]
          .filter(Boolean)
          .join(' · ')}
      </p>
    );
  }
  return (
    <Card
      tone={item.success ? 'success' : 'warn'}
      icon={item.success ? 'check' : 'warn'}
      title={
        item.success
          ? item.partial
            ? trans.__('A partial result')
            : trans.__('Result')
          : trans.__('Ended without a result')
      }
      className="jp-Postdoc-Result"
      actions={
        (newest || item.verdict !== null) && (
          <>
            {artifacts.report && openReport !== undefined && (
              <Button kind="accept" icon="book" onClick={() => openReport.call(platform, session, title)}>
                {trans.__('Open report')}
              </Button>
            )}
            {notebook && openNotebook !== undefined && (
              <Button icon="notebook" onClick={() => openNotebook.call(platform, notebook)}>
                {trans.__('Open notebook')}
              </Button>
            )}
            {repo && openFolder !== undefined && (
              <Button icon="folder" onClick={() => openFolder.call(platform, repo)}>
                {trans.__('Open folder')}
              </Button>
            )}
            {newest && talks && (
              <Button icon="chat" onClick={event => compose(event.currentTarget)}>
                {trans.__('Ask a follow-up')}
              </Button>
            )}
          </>
        )
      }
    >
      {item.verdict !== null && <Verdict verdict={item.verdict} />}
      {item.summary !== '' && <MarkdownText source={item.summary} />}
      {stops[item.stopReason] && <p>{stops[item.stopReason]}</p>}
      <p className="jp-Postdoc-Small">
        {[
          duration(item.durationMs, trans),
          item.tokens !== null ? trans.__('%1 tokens', count(item.tokens, platform.language)) : null,
          money(item.cost),
          item.provider === 'template'
            ? trans.__('Made by a research template; no language model took part.')
            : null
        ]
          .filter(Boolean)
          .join(' · ')}
      </p>
    </Card>
  );
});

interface ErrorProps {
  item: ErrorItem;
  session: string;
  newest: boolean;
  kept: string | null;
}

export const ErrorCard = memo(function ErrorCard({ item, session, newest, kept }: ErrorProps) {
  const platform = usePlatform();
  const trans = useTrans();
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const resume = () => {
    setBusy(true);
    setTrouble(null);
    platform.client
      .resume(session)
      .catch((error: unknown) => setTrouble(error instanceof Error ? error.message : String(error)))
      .finally(() => setBusy(false));
  };
  if (item.publishing) {
    return (
      <p className="jp-Postdoc-Done">
        <Icon name="warn" /> {[item.error, item.next].filter(Boolean).join(' ')}
      </p>
    );
  }
  return (
    <Card
      tone="error"
      role={newest ? 'alert' : undefined}
      title={item.error}
      actions={
        newest && (
          <>
            <Button kind="accept" busy={busy} onClick={resume}>
              {item.retryable ? trans.__('Retry') : trans.__('Resume')}
            </Button>
            <Button
              icon="copy"
              onClick={() => {
                const view = platform.store.getState().views[session];
                void platform.copy(reportOf(item, view));
              }}
            >
              {trans.__('Copy report')}
            </Button>
          </>
        )
      }
    >
      {item.next !== '' && <p>{item.next}</p>}
      {kept !== null && <p className="jp-Postdoc-Small">{trans.__('Kept: %1', kept)}</p>}
      <p className="jp-Postdoc-Small">
        <code>{item.code}</code>
        {item.ref ? ` · ${trans.__('in the server’s log as %1', item.ref)}` : ''}
      </p>
      {trouble !== null && <p role="alert">{trouble}</p>}
    </Card>
  );
});
