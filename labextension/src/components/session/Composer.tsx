/** Where the researcher speaks: now, at the next step, or instead. */
import React, { forwardRef, useEffect, useImperativeHandle, useLayoutEffect, useRef, useState } from 'react';

import type { Mode } from '../../client';
import { RequestFailed } from '../../client';
import { firstLine } from '../../format';
import type { ChatInfo, Pending, Problem, SessionView } from '../../model';
import { usePlatform, useSettings, useTrans } from '../../platform';
import { atWork } from '../../store/status';
import { Button, Icon, IconButton, Menu } from '../ui';
import { Pickers, useChoices } from './Pickers';
import { useDraft } from './useDraft';

const MAX = 200_000;
const FORCE_AFTER_MS = 5_000;

export interface ComposerHandle {
  focus(text?: string): void;
}

interface Props {
  view: SessionView;
  info: ChatInfo | null;
}

/** Which key sends. An input method that composes a word needs Enter for itself. */
export function sends(
  event: { key: string; shiftKey: boolean; ctrlKey: boolean; metaKey: boolean; isComposing: boolean },
  withShift: boolean
): boolean {
  if (event.key !== 'Enter' || event.isComposing) {
    return false;
  }
  return event.ctrlKey || event.metaKey || event.shiftKey === withShift;
}

export const Composer = forwardRef<ComposerHandle, Props>(function Composer({ view, info }, ref) {
  const platform = usePlatform();
  const trans = useTrans();
  const settings = useSettings();
  const { client } = platform;
  const area = useRef<HTMLTextAreaElement>(null);
  const [text, setText, clear] = useDraft(view.id);
  const [problem, setProblem] = useState<Problem | null>(null);
  const { models, personas } = useChoices();
  const working = atWork(view.status);
  const talks = models === null || models.some(model => model.available && model.kinds.includes('chat'));

  useImperativeHandle(ref, () => ({
    focus: (more?: string) => {
      if (more) {
        setText(text === '' ? more : `${text}\n\n${more}`);
      }
      area.current?.focus();
    }
  }));

  useLayoutEffect(() => {
    const node = area.current;
    if (node !== null) {
      node.style.height = 'auto';
      node.style.height = `${node.scrollHeight + 2}px`; // the style sheet stops it at eight lines
    }
  }, [text]);

  const send = (mode: Mode) => {
    const content = text.trim();
    if (content === '') {
      return;
    }
    if (content.length > MAX) {
      setProblem({
        code: 'too_large',
        error: trans.__('This message has %1 characters; at most %2 can be sent.', content.length, MAX),
        next: trans.__('Put the long part into a file and name it.'),
        retryable: false
      });
      return;
    }
    setProblem(null);
    clear();
    client.say(view.id, content, mode).catch((error: unknown) => {
      // The timeline keeps a message that was not sent; one that was refused comes back to be changed.
      if (error instanceof RequestFailed && error.problem.code !== 'offline') {
        setProblem(error.problem);
      }
    });
  };

  const context = platform.context?.() ?? null;
  if (!talks) {
    // No model: a message would wait for ever. What works is to stop, and to start again.
    return (
      <div className="jp-Postdoc-Composer jp-mod-silent">
        <p className="jp-Postdoc-Small">
          {trans.__(
            'Talking to the agent needs a model key. Set ANTHROPIC_API_KEY for the Jupyter server and restart it.'
          )}
        </p>
        {working && <StopButton view={view} />}
      </div>
    );
  }
  return (
    <div className="jp-Postdoc-Composer">
      {view.queue.length > 0 && (
        <ul className="jp-Postdoc-Queue" aria-label={trans.__('Messages that wait their turn')}>
          {view.queue.map(one => (
            <QueuedMessage key={one.id} message={one} session={view.id} />
          ))}
        </ul>
      )}
      {problem !== null && (
        <p role="alert" className="jp-Postdoc-Trouble">
          {problem.error} {problem.next}
        </p>
      )}
      <textarea
        ref={area}
        className="jp-Postdoc-Textarea"
        rows={1}
        value={text}
        aria-label={trans.__('Message')}
        placeholder={
          working
            ? trans.__('Say something to the agent while it works…')
            : trans.__('Ask a follow-up, or say what to change…')
        }
        onChange={event => setText(event.target.value)}
        onKeyDown={event => {
          if (
            sends(
              { ...keyOf(event), isComposing: event.nativeEvent.isComposing },
              settings.sendWithShiftEnter
            )
          ) {
            event.preventDefault();
            send('queue');
          }
        }}
      />
      <div className="jp-Postdoc-Composer-bar">
        {info !== null && info.kind !== 'room' && (
          <Pickers
            info={info}
            models={models}
            personas={personas}
            locked={working}
            begun={view.items.length > 0}
          />
        )}
        {context !== null && (
          <IconButton
            icon="add"
            label={trans.__('Add the selection (%1)', context.label)}
            onClick={() => setText(`${text}${text ? '\n\n' : ''}${context.text}`)}
          />
        )}
        <span className="jp-Postdoc-Space" />
        {working && <StopButton view={view} />}
        {working ? (
          <span className="jp-Postdoc-Split">
            <Button
              kind="accept"
              icon="send"
              disabled={text.trim() === ''}
              title={trans.__('The agent reads it when it has finished')}
              onClick={() => send('queue')}
            >
              {trans.__('Queue')}
            </Button>
            <Menu
              label={trans.__('When to send')}
              icon="chevron"
              disabled={text.trim() === ''}
              items={[
                {
                  label: trans.__('Queue: when it has finished'),
                  icon: 'clock',
                  onSelect: () => send('queue')
                },
                { label: trans.__('Steer at next step'), icon: 'play', onSelect: () => send('steer') },
                { label: trans.__('Stop and send'), icon: 'stop', onSelect: () => send('interrupt') }
              ]}
            />
          </span>
        ) : (
          <Button kind="accept" icon="send" disabled={text.trim() === ''} onClick={() => send('queue')}>
            {trans.__('Send')}
          </Button>
        )}
      </div>
    </div>
  );
});

function keyOf(event: React.KeyboardEvent) {
  return { key: event.key, shiftKey: event.shiftKey, ctrlKey: event.ctrlKey, metaKey: event.metaKey };
}

/** Stop; the second press, or one after five seconds, does not wait for the step to end. */
function StopButton({ view }: { view: SessionView }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [asked, setAsked] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const stopping = view.status === 'stopping';
  useEffect(() => {
    setAsked(false);
  }, [view.runId]);
  useEffect(() => {
    if (!asked && !stopping) {
      return undefined;
    }
    // What was asked for and never came about can be asked for again.
    const timer = window.setTimeout(() => setAsked(stopping), FORCE_AFTER_MS);
    return () => window.clearTimeout(timer);
  }, [asked, stopping]);
  const force = asked || stopping;
  return (
    <>
      <Button
        kind="warn"
        icon="stop"
        onClick={() => {
          setProblem(null);
          setAsked(true);
          client.stop(view.id, force ? 'now' : 'graceful').catch((error: unknown) => {
            setProblem(
              error instanceof RequestFailed ? `${error.problem.error} ${error.problem.next}` : String(error)
            );
          });
        }}
      >
        {force ? trans.__('Force stop') : trans.__('Stop')}
      </Button>
      {problem !== null && <span role="alert">{problem}</span>}
    </>
  );
}

/** A message that the agent has not read yet: it can be changed or taken back. */
function QueuedMessage({ message, session }: { message: Pending; session: string }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [editing, setEditing] = useState<string | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const report = (error: unknown) =>
    setProblem(
      error instanceof RequestFailed ? `${error.problem.error} ${error.problem.next}` : String(error)
    );
  return (
    <li className="jp-Postdoc-Queued">
      {editing === null ? (
        <>
          <Icon name="clock" />
          <span className="jp-Postdoc-Queued-text">{firstLine(message.content, 120)}</span>
          {message.kind === 'chat' && (
            <IconButton
              icon="edit"
              label={trans.__('Change this message')}
              onClick={() => setEditing(message.content)}
            />
          )}
          <IconButton
            icon="close"
            label={trans.__('Take this message back')}
            onClick={() => void client.cancelQueued(session, message.id).catch(report)}
          />
        </>
      ) : (
        <form
          className="jp-Postdoc-Reply"
          onSubmit={event => {
            event.preventDefault();
            client.updateQueued(session, message.id, editing).then(() => setEditing(null), report);
          }}
        >
          <input
            className="jp-Postdoc-Input"
            autoFocus
            aria-label={trans.__('Message')}
            value={editing}
            onChange={event => setEditing(event.target.value)}
            onKeyDown={event => {
              if (event.key === 'Escape') {
                event.stopPropagation();
                setEditing(null);
              }
            }}
          />
          <Button submit kind="accept" disabled={editing.trim() === ''}>
            {trans.__('Save')}
          </Button>
        </form>
      )}
      {problem !== null && <span role="alert">{problem}</span>}
    </li>
  );
}
