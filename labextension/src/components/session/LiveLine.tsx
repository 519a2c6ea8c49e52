/** How the session is now: in words, in time, in tokens, in money. */
import React, { useEffect, useRef, useState } from 'react';

import { count, duration, firstLine, money } from '../../format';
import type { SessionView, ResultItem, ErrorItem } from '../../model';
import type { Trans } from '../../platform';
import { usePlatform, useTrans } from '../../platform';
import { Button, Elapsed, Icon, Progress, StateIcon, stateText } from '../ui';

const FORCE_AFTER_MS = 5_000;
const WARN_AT = 0.8;

/** Why it is in its state. A session in which nothing was said yet has not ended: it is ready. */
export function reasonOf({ status, reason, items }: SessionView): string | null {
  return status === 'finished' && items.length === 0 ? 'idle' : reason;
}

/** The state as one line, as far as it is known. */
export function liveText(trans: Trans, view: SessionView): string {
  const { status, live } = view;
  const reason = reasonOf(view);
  if ((status === 'running' || status === 'starting' || status === 'queued') && live !== null) {
    return firstLine(live.message, 80);
  }
  if (status === 'error') {
    const error = view.items.findLast((item): item is ErrorItem => item.kind === 'error' && !item.publishing);
    return error ? firstLine(error.error, 120) : stateText(trans, status, reason);
  }
  if (status === 'finished') {
    const result = view.items.findLast(
      (item): item is ResultItem => item.kind === 'result' && !item.publishing
    );
    if (result) {
      return [stateText(trans, status, null), duration(result.durationMs, trans), money(result.cost)]
        .filter(Boolean)
        .join(' · ');
    }
  }
  if (status === 'stopped') {
    const kept = [
      view.artifacts.notebook ? trans.__('notebook') : '',
      view.artifacts.branch || view.artifacts.repo ? trans.__('repository') : ''
    ].filter(Boolean);
    const text = stateText(trans, status, reason);
    return kept.length > 0 ? trans.__('%1 · kept: %2', text, kept.join(', ')) : text;
  }
  return stateText(trans, status, reason);
}

/** What it has cost, of how much it may cost. At least that much, when a part of it is not known. */
export function costText(trans: Trans, { spent, limits }: SessionView): string {
  if (spent.cost === null) {
    return trans.__('no price known');
  }
  const cost = `${spent.estimated ? '≥ ' : ''}${money(spent.cost)}`;
  return limits.usd !== null ? trans.__('%1 of %2', cost, money(limits.usd)) : cost;
}

/** The text, at most once a second: a screen reader reads each change. */
function useCalm(text: string): string {
  const [calm, setCalm] = useState(text);
  const at = useRef(0);
  useEffect(() => {
    const wait = Math.max(0, at.current + 1000 - Date.now());
    const timer = window.setTimeout(() => {
      at.current = Date.now();
      setCalm(text);
    }, wait);
    return () => window.clearTimeout(timer);
  }, [text]);
  return calm;
}

/** Whether something has lasted for some time. */
function useLasting(on: boolean, ms: number): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    setLasting(false);
    if (!on) {
      return undefined;
    }
    const timer = window.setTimeout(() => setLasting(true), ms);
    return () => window.clearTimeout(timer);
  }, [on, ms]);
  return on && lasting;
}

interface Props {
  view: SessionView;
  onResume: () => void;
  onForce: () => void;
  onAnswer: () => void;
  busy: boolean;
}

export function LiveLine({ view, onResume, onForce, onAnswer, busy }: Props): JSX.Element {
  const { language } = usePlatform();
  const trans = useTrans();
  const { status, live, spent, limits } = view;
  const text = liveText(trans, view);
  const needs = status === 'waiting' || status === 'paused';
  const calm = useCalm(text);
  const stuck = useLasting(status === 'stopping', FORCE_AFTER_MS);
  const working = status === 'running' || status === 'starting' || status === 'stopping';
  const tokens = spent.tokensIn + spent.tokensOut;
  const cap = limits.usd;
  const share = cap !== null && spent.cost !== null ? spent.cost / cap : null;
  // Of sums like 0.7 + 0.1, which are a little less than they look.
  const near = share !== null && Math.round(share * 1000) >= WARN_AT * 1000;
  return (
    <div className={`jp-Postdoc-Live jp-mod-${status}`}>
      <div className="jp-Postdoc-Live-line">
        <StateIcon status={status} />
        {/* Read out by the status beside it, which changes at most once a second. */}
        <span className="jp-Postdoc-Live-text" aria-hidden="true" title={live?.message}>
          {text}
        </span>
        <span className="jp-Postdoc-hidden" role="status" aria-live="polite">
          {calm}
        </span>
        {working && view.runStartedAt !== null && (
          <span aria-hidden="true">
            <Elapsed since={view.runStartedAt} />
          </span>
        )}
        {needs && view.waitingFor.length > 0 && (
          <Button className="jp-Postdoc-Live-act" onClick={onAnswer}>
            {trans.__('Answer')}
          </Button>
        )}
        {(status === 'stopped' || status === 'interrupted') && (
          <Button className="jp-Postdoc-Live-act" busy={busy} onClick={onResume}>
            {trans.__('Resume')}
          </Button>
        )}
        {status === 'error' && (
          <Button className="jp-Postdoc-Live-act" busy={busy} onClick={onResume}>
            {trans.__('Retry')}
          </Button>
        )}
        {stuck && (
          <Button className="jp-Postdoc-Live-act" onClick={onForce}>
            {trans.__('Force stop')}
          </Button>
        )}
      </div>
      {(tokens > 0 || (spent.cost !== null && spent.cost > 0)) && (
        <div className="jp-Postdoc-Live-spent">
          <span>
            {trans.__(
              '%1 tokens in · %2 out',
              count(spent.tokensIn, language),
              count(spent.tokensOut, language)
            )}
          </span>
          <span className="jp-Postdoc-Live-cost">
            {costText(trans, view)}
            {near && <Icon name="warn" />}
            {share !== null && (
              <Progress
                value={share}
                tone={near ? 'warn' : 'neutral'}
                label={trans.__('Cost: %1 of %2', money(spent.cost), money(cap))}
              />
            )}
          </span>
        </div>
      )}
      {typeof live?.progress === 'number' && working && (
        <Progress value={live.progress} label={trans.__('Progress')} />
      )}
    </div>
  );
}
