/** What the agent waits for: an answer, or leave. */
import React, { memo, useRef, useState } from 'react';

import { RequestFailed } from '../../client';
import type { Answer } from '../../client';
import { dateTime } from '../../format';
import type { ApprovalItem, Problem, QuestionItem, ToolItem } from '../../model';
import { exposed } from '../../plain';
import { usePlatform, useTrans } from '../../platform';
import { textIn } from '../../store/parts';
import { Button, Card } from '../ui';
import { Output } from './Code';
import { MarkdownText } from './MarkdownText';

/** Sends one answer at a time and keeps what went wrong. */
function useRespond(session: string, requestId: string) {
  const { client } = usePlatform();
  const [busy, setBusy] = useState(false);
  const sent = useRef(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const respond = (answer: Answer) => {
    if (sent.current) {
      return;
    }
    sent.current = true; // and so it stays: once the answer is taken, the card shows it
    setBusy(true);
    setProblem(null);
    client.respond(session, requestId, answer).catch((error: unknown) => {
      sent.current = false;
      setBusy(false);
      setProblem(
        error instanceof RequestFailed
          ? error.problem
          : { code: 'internal', error: String(error), next: '', retryable: true }
      );
    });
  };
  return { busy, problem, respond };
}

function Trouble({ problem }: { problem: Problem | null }): JSX.Element | null {
  return problem === null ? null : (
    <p role="alert" className="jp-Postdoc-Trouble">
      {problem.error} {problem.next}
    </p>
  );
}

function Deadline({ at }: { at: number | null }): JSX.Element | null {
  const trans = useTrans();
  const { language } = usePlatform();
  return at === null ? null : (
    <p className="jp-Postdoc-Small">{trans.__('Waits until %1.', dateTime(at, language))}</p>
  );
}

/** A question with its options and a field for words of one's own. */
export const QuestionCard = memo(function QuestionCard({
  item,
  session
}: {
  item: QuestionItem;
  session: string;
}) {
  const trans = useTrans();
  const [text, setText] = useState('');
  const { busy, problem, respond } = useRespond(session, item.requestId);
  if (item.answer !== null) {
    const lapsed = item.decision === 'expired' || item.decision === 'cancelled';
    return (
      <Card icon="question" title={trans.__('Question')} data-request={item.requestId} tabIndex={-1}>
        <MarkdownText source={item.question} />
        <p className="jp-Postdoc-Answer">
          {lapsed
            ? item.decision === 'expired'
              ? trans.__('Nobody answered in time.')
              : trans.__('The question was withdrawn.')
            : trans.__('%1: %2', item.by ?? trans.__('Answer'), item.answer)}
        </p>
      </Card>
    );
  }
  return (
    <Card
      tone="warn"
      icon="hand"
      title={trans.__('The agent asks')}
      data-request={item.requestId}
      tabIndex={-1}
    >
      <MarkdownText source={item.question} />
      {item.options.length > 0 && (
        <div className="jp-Postdoc-Options" role="group" aria-label={trans.__('Answers to choose from')}>
          {item.options.map((option, index) => (
            <Button key={index} disabled={busy} onClick={() => respond({ answer: option })}>
              {exposed(option)}
            </Button>
          ))}
        </div>
      )}
      <form
        className="jp-Postdoc-Reply"
        onSubmit={event => {
          event.preventDefault();
          if (text.trim() !== '') {
            respond({ answer: text.trim() });
          }
        }}
      >
        <input
          className="jp-Postdoc-Input"
          value={text}
          aria-label={trans.__('Your answer')}
          placeholder={
            item.options.length > 0 ? trans.__('Or answer in your own words') : trans.__('Your answer')
          }
          onChange={event => setText(event.target.value)}
        />
        <Button submit kind="accept" busy={busy} disabled={text.trim() === ''}>
          {trans.__('Answer')}
        </Button>
      </form>
      <Deadline at={item.deadline} />
      <Trouble problem={problem} />
    </Card>
  );
});

/** A request for leave: what would be done, with exactly which input. */
export const ApprovalCard = memo(function ApprovalCard({
  item,
  session,
  tool
}: {
  item: ApprovalItem;
  session: string;
  tool: ToolItem | null;
}) {
  const trans = useTrans();
  const [denying, setDenying] = useState(false);
  const [reason, setReason] = useState('');
  const { busy, problem, respond } = useRespond(session, item.requestId);
  const risks: Record<string, string> = {
    read: trans.__('It only reads.'),
    write: trans.__('It changes files of the project.'),
    execute: trans.__('It runs code on the machine of the server.'),
    outside: trans.__('It reaches outside: what it does there cannot be undone here.')
  };
  const input = tool?.input ?? null;
  // All of it: what is not seen could be what matters.
  const code = input === null ? '' : textIn(input, 'command') || textIn(input, 'code');
  const rest = Object.entries(input ?? {}).filter(([, value]) => code === '' || value !== code);
  if (item.decision !== null) {
    const words: Record<string, string> = {
      allow:
        item.scope === 'session'
          ? trans.__('Allowed for this session')
          : item.scope === 'always'
            ? trans.__('Always allowed')
            : trans.__('Allowed once'),
      deny: trans.__('Denied'),
      expired: trans.__('Nobody answered in time: not done.'),
      cancelled: trans.__('Withdrawn: not done.')
    };
    return (
      <Card
        icon={item.decision === 'allow' ? 'check' : 'square'}
        title={exposed(item.what)}
        data-request={item.requestId}
        tabIndex={-1}
      >
        <p className="jp-Postdoc-Answer">
          {words[item.decision] ?? item.decision}
          {item.by && item.decision !== 'expired' && item.decision !== 'cancelled' ? ` · ${item.by}` : ''}
        </p>
      </Card>
    );
  }
  return (
    <Card
      tone="warn"
      icon="hand"
      title={trans.__('May the agent do this?')}
      data-request={item.requestId}
      tabIndex={-1}
      actions={
        denying ? (
          <form
            className="jp-Postdoc-Reply"
            onSubmit={event => {
              event.preventDefault();
              respond({ decision: 'deny', ...(reason.trim() ? { answer: reason.trim() } : {}) });
            }}
          >
            <input
              className="jp-Postdoc-Input"
              autoFocus
              value={reason}
              aria-label={trans.__('Why not? The agent reads it')}
              placeholder={trans.__('Why not? The agent reads it (optional)')}
              onChange={event => setReason(event.target.value)}
            />
            <Button submit kind="warn" busy={busy}>
              {trans.__('Deny')}
            </Button>
            <Button onClick={() => setDenying(false)}>{trans.__('Back')}</Button>
          </form>
        ) : (
          <>
            <Button kind="accept" busy={busy} onClick={() => respond({ decision: 'allow', scope: 'once' })}>
              {trans.__('Allow once')}
            </Button>
            <Button disabled={busy} onClick={() => respond({ decision: 'allow', scope: 'session' })}>
              {trans.__('Allow for this session')}
            </Button>
            <Button disabled={busy} onClick={() => setDenying(true)}>
              {trans.__('Deny…')}
            </Button>
          </>
        )
      }
    >
      <p className="jp-Postdoc-What">{exposed(item.what)}</p>
      {code !== '' && <Output text={exposed(code)} label={trans.__('What exactly')} />}
      {rest.length > 0 && (
        <Output
          text={exposed(JSON.stringify(Object.fromEntries(rest), null, 2))}
          label={code === '' ? trans.__('What exactly') : trans.__('With what else')}
        />
      )}
      <p className="jp-Postdoc-Small">
        {[item.where && exposed(item.where), item.risk ? risks[item.risk] : null].filter(Boolean).join(' · ')}
      </p>
      <Deadline at={item.deadline} />
      <Trouble problem={problem} />
    </Card>
  );
});
