/** What people and the agent say, and what the agent thinks. */
import React, { memo, useEffect, useState } from 'react';

import { EXTERNAL, safeUrl } from '../../links';
import { dateTime, duration, firstLine } from '../../format';
import type { TextItem, ThinkingItem, UserItem } from '../../model';
import { usePlatform, useSettings, useTrans } from '../../platform';
import { numberIn, recordOf, textIn } from '../../store/parts';
import { Button, Disclosure, Icon } from '../ui';
import { CopyButton } from './Code';
import { MarkdownText } from './MarkdownText';

/** What a person said; a research question shows what was chosen for it. */
export const UserRow = memo(function UserRow({ item, session }: { item: UserItem; session: string }) {
  const { client, language } = usePlatform();
  const trans = useTrans();
  const research = item.research ? recordOf(item.research) : null;
  const budget = recordOf(research?.budget);
  const usd = numberIn(budget, 'usd');
  const minutes = numberIn(budget, 'minutes');
  const chips = research
    ? [
        textIn(research, 'template'),
        usd !== null ? trans.__('at most $%1', usd) : '',
        minutes !== null ? trans.__('at most %1 min', minutes) : '',
        ...Object.entries(recordOf(research.params)).map(([name, value]) => `${name}: ${String(value)}`)
      ].filter(text => text !== '')
    : [];
  return (
    <div
      className={`jp-Postdoc-User${item.sending ? ` jp-mod-${item.sending}` : ''}`}
      title={item.at === null ? undefined : dateTime(item.at, language)}
    >
      {item.agent && <p className="jp-Postdoc-Small">{item.agent}</p>}
      {research && (
        <p className="jp-Postdoc-User-kind">
          <Icon name="search" /> {trans.__('Research')}
        </p>
      )}
      <div className="jp-Postdoc-User-text">{item.content}</div>
      {chips.length > 0 && (
        <ul className="jp-Postdoc-Chips" aria-label={trans.__('Chosen for it')}>
          {chips.map(chip => (
            <li key={chip} className="jp-Postdoc-Chip">
              {firstLine(chip, 60)}
            </li>
          ))}
        </ul>
      )}
      {item.sending === 'pending' && <p className="jp-Postdoc-Small">{trans.__('Sending…')}</p>}
      {item.sending === 'failed' && (
        <p className="jp-Postdoc-Small" role="alert">
          {item.problem && item.problem.code !== 'offline'
            ? `${item.problem.error} ${item.problem.next}`
            : trans.__('Not sent.')}{' '}
          <Button kind="link" onClick={() => void client.resend(session, item.id).catch(() => undefined)}>
            {trans.__('Retry')}
          </Button>{' '}
          <Button kind="link" onClick={() => client.forget(session, item.id)}>
            {trans.__('Forget')}
          </Button>
        </p>
      )}
    </div>
  );
});

/** A reply of the agent. */
export const TextRow = memo(function TextRow({ item }: { item: TextItem }) {
  const trans = useTrans();
  return (
    <div className={`jp-Postdoc-Text${item.streaming ? ' jp-mod-streaming' : ''}`}>
      <MarkdownText source={item.content} streaming={item.streaming} />
      {item.partial && !item.streaming && (
        <p className="jp-Postdoc-Small">
          <Icon name="warn" /> {trans.__('This reply was cut off.')}
        </p>
      )}
      {item.citations.length > 0 && (
        <ol className="jp-Postdoc-Citations" aria-label={trans.__('Sources')}>
          {item.citations.map((citation, index) => {
            const url = safeUrl(citation.url);
            const label = citation.title || citation.url || trans.__('Source %1', index + 1);
            return (
              <li key={index} title={citation.text ? firstLine(citation.text, 300) : undefined}>
                {url ? (
                  <a href={url} {...EXTERNAL}>
                    {firstLine(label, 100)}
                  </a>
                ) : (
                  firstLine(label, 100)
                )}
              </li>
            );
          })}
        </ol>
      )}
      {!item.streaming && item.content !== '' && (
        <div className="jp-Postdoc-Text-buttons">
          <CopyButton text={item.content} label={trans.__('Copy this reply')} />
        </div>
      )}
    </div>
  );
});

/** Thinking: closed; while it lives its last line is there, when the user wants that. */
export const ThinkingRow = memo(function ThinkingRow({ item }: { item: ThinkingItem }) {
  const trans = useTrans();
  const { showThinking } = useSettings();
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (!item.streaming) {
      return undefined;
    }
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, [item.streaming]);
  if (showThinking === 'hidden' || (item.content.trim() === '' && !item.streaming)) {
    return null;
  }
  const ms = item.startedAt === null ? null : (item.endedAt ?? now) - item.startedAt;
  const summary = item.streaming
    ? ms === null
      ? trans.__('Thinking…')
      : trans.__('Thinking for %1', duration(Math.max(1000, ms), trans))
    : ms === null
      ? trans.__('Thought')
      : trans.__('Thought for %1', duration(Math.max(1000, ms), trans));
  return (
    <div className="jp-Postdoc-Thinking">
      <Disclosure
        summary={
          <>
            <Icon name="thought" />
            <span>{summary}</span>
          </>
        }
      >
        <div className="jp-Postdoc-Thinking-text">{item.content}</div>
      </Disclosure>
      {item.streaming && showThinking === 'live' && (
        <p className="jp-Postdoc-Thinking-live" aria-hidden="true">
          {item.content.trimEnd().split('\n').pop()?.slice(-160)}
        </p>
      )}
    </div>
  );
});
