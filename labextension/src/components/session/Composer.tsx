/** Where the researcher speaks: now, at the next step, or instead. */
import React, {
  forwardRef,
  memo,
  useImperativeHandle,
  useLayoutEffect,
  useReducer,
  useRef,
  useState
} from 'react';

import type { Client, Mode } from '../../client';
import { RequestFailed } from '../../client';
import type { ChatInfo, Pending, Status } from '../../model';
import { usePlatform, useSettings, useTrans } from '../../platform';
import type { Store } from '../../store';
import { atWork } from '../../store/status';
import { Button, IconButton, Menu } from '../ui';
import { keyOf, sends } from './keys';
import type { Choices } from './Pickers';
import { Pickers } from './Pickers';
import { Queue } from './Queue';
import { canTalk, Silent } from './Silent';
import { StopButton } from './StopButton';
import { troubleOf } from './trouble';
import { useDraft } from './useDraft';

/** Characters of a message; the server takes no more. */
export const MAX = 200_000;

export interface ComposerHandle {
  /** Put the focus here, and `text` after what is typed already. */
  focus(text?: string): void;
}

interface Props {
  session: string;
  choices: Choices;
  status: Status;
  runId: string | null;
  queue: readonly Pending[];
  /** Something was said in the session already. */
  begun: boolean;
  info: ChatInfo | null;
  /** What else can be done now, over the composer. */
  actions?: React.ReactNode;
}

export const Composer = memo(
  forwardRef<ComposerHandle, Props>(function Composer(props, ref) {
    const { session, choices, status, runId, queue, begun, info, actions } = props;
    const platform = usePlatform();
    const trans = useTrans();
    const settings = useSettings();
    const { client, store } = platform;
    // What is chosen elsewhere is asked for anew when somebody comes here.
    const [, look] = useReducer((n: number) => n + 1, 0);
    const area = useRef<HTMLTextAreaElement>(null);
    const notice = useRef<HTMLParagraphElement>(null);
    const draft = useDraft(session, text => outgoing(store, session, text.trim()) !== null);
    const { text } = draft;
    const [problem, setProblem] = useState<string | null>(null);
    const { models, personas } = choices;
    const working = atWork(status);
    const stoppable = working || status === 'interrupted';
    const talks = canTalk(models);
    const tooLong = text.length > MAX;
    const empty = text.trim() === '';

    const add = (more: string) => draft.change(text === '' ? more : `${text}\n\n${more}`);
    useImperativeHandle(ref, () => ({
      focus: more => {
        if (more) {
          add(more);
        }
        (area.current ?? notice.current)?.focus();
      }
    }));

    useGrowing(area, text);

    const send = (mode: Mode) => {
      const content = text.trim();
      if (content === '' || tooLong) {
        return;
      }
      setProblem(null);
      draft.take();
      client.say(session, content, mode).then(draft.sent, (error: unknown) => {
        // The timeline keeps a message that got lost, to be sent again. One that was refused comes back, to be changed.
        if (error instanceof RequestFailed && error.problem.retryable) {
          return;
        }
        setProblem(troubleOf(error));
        if ((area.current?.value ?? '') === '') {
          draft.change(content);
          forgetRefused(store, client, session, content);
        }
      });
    };

    const stop = stoppable && (
      <StopButton session={session} status={status} runId={runId} onTrouble={setProblem} />
    );
    const trouble = tooLong
      ? `${trans.__('This message has %1 characters; at most %2 can be sent.', text.length, MAX)} ${trans.__(
          'Put the long part into a file and name it.'
        )}`
      : problem;
    const alert = trouble !== null && (
      <p role="alert" className="jp-Postdoc-Trouble">
        {trouble}
      </p>
    );
    const waiting = (
      <Queue session={session} queue={queue} onLost={add} onLeft={() => area.current?.focus()} />
    );

    if (!talks) {
      return (
        <Silent models={models} begun={begun} ref={notice}>
          {waiting}
          {alert}
          {(actions || stop) && (
            <div className="jp-Postdoc-Composer-bar">
              {actions}
              <span className="jp-Postdoc-Space" />
              {stop}
            </div>
          )}
        </Silent>
      );
    }
    return (
      <div className="jp-Postdoc-Composer" onPointerEnter={look} onFocus={look}>
        {actions && <div className="jp-Postdoc-Composer-actions">{actions}</div>}
        {waiting}
        {alert}
        <textarea
          ref={area}
          className="jp-Postdoc-Textarea"
          rows={1}
          value={text}
          aria-label={trans.__('Message')}
          aria-invalid={tooLong || undefined}
          placeholder={
            working
              ? trans.__('Say something to the agent…')
              : begun
                ? trans.__('Ask a follow-up…')
                : trans.__('Ask the agent something…')
          }
          onChange={event => draft.change(event.target.value)}
          onKeyDown={event => {
            if (sends(keyOf(event), settings.sendWithShiftEnter)) {
              event.preventDefault();
              send('queue');
            }
          }}
        />
        <div className="jp-Postdoc-Composer-bar">
          {info !== null && info.kind !== 'room' && (
            <Pickers info={info} models={models} personas={personas} locked={working} begun={begun} />
          )}
          <AddSelection onAdd={add} />
          <span className="jp-Postdoc-Space" />
          {stop}
          {working ? (
            <SendLater disabled={empty || tooLong} send={send} />
          ) : (
            <Button kind="accept" icon="send" disabled={empty || tooLong} onClick={() => send('queue')}>
              {trans.__('Send')}
            </Button>
          )}
        </div>
      </div>
    );
  })
);

/** As tall as its text; the style sheet stops it at eight lines. */
function useGrowing(area: React.RefObject<HTMLTextAreaElement>, text: string): void {
  useLayoutEffect(() => {
    const node = area.current;
    if (node !== null) {
      node.style.height = 'auto';
      node.style.height = `${node.scrollHeight + 2}px`;
    }
  }, [area, text]);
}

/** While the agent is at work: queue, or the two other ways. */
function SendLater({ disabled, send }: { disabled: boolean; send: (mode: Mode) => void }): JSX.Element {
  const trans = useTrans();
  return (
    <span className="jp-Postdoc-Split">
      <Button
        kind="accept"
        icon="send"
        disabled={disabled}
        title={trans.__('The agent reads it when it has finished')}
        onClick={() => send('queue')}
      >
        {trans.__('Queue')}
      </Button>
      <Menu
        label={trans.__('When to send')}
        icon="chevron"
        disabled={disabled}
        items={[
          { label: trans.__('Queue'), icon: 'clock', onSelect: () => send('queue') },
          { label: trans.__('Steer at next step'), icon: 'play', onSelect: () => send('steer') },
          { label: trans.__('Stop and send'), icon: 'stop', onSelect: () => send('interrupt') }
        ]}
      />
    </span>
  );
}

/** Put what is chosen elsewhere (a cell, a file) into the message. */
function AddSelection({ onAdd }: { onAdd: (text: string) => void }): JSX.Element | null {
  const platform = usePlatform();
  const trans = useTrans();
  const context = platform.context?.() ?? null;
  return (
    context && (
      <IconButton
        icon="add"
        label={trans.__('Add selection (%1)', context.label)}
        onClick={() => onAdd((platform.context?.() ?? context).text)}
      />
    )
  );
}

/** The message with this text that the server has not acknowledged. */
function outgoing(store: Store, session: string, content: string) {
  const items = store.getState().views[session]?.items ?? [];
  const found = items.find(item => item.kind === 'user' && item.sending && item.content === content);
  return found?.kind === 'user' ? found : null;
}

/** Take a refused message out of the timeline, as soon as it is there. */
function forgetRefused(store: Store, client: Client, session: string, content: string): void {
  let leave: () => void = () => undefined;
  const look = () => {
    const item = outgoing(store, session, content);
    if (item?.sending === 'failed') {
      leave();
      client.forget(session, item.id);
    }
  };
  leave = store.subscribe(look);
  window.setTimeout(() => leave(), 2000);
  look();
}
