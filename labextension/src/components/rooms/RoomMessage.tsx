/** One message: who, what kind, when, and the text. */
import React, { memo } from 'react';

import { dateTime, timeOfDay } from '../../format';
import { usePlatform, useTrans } from '../../platform';
import { MarkdownText } from '../timeline/MarkdownText';
import { Icon, classes } from '../ui';
import type { Message } from './rooms';
import { kindIcon, kindText } from './rooms';

interface RoomMessageProps {
  message: Message;
  /** Several rooms are shown: which one was it said in? */
  withRoom: boolean;
  onOpen: (room: string) => void;
}

export const RoomMessage = memo(function RoomMessage({ message, withRoom, onOpen }: RoomMessageProps) {
  const { language } = usePlatform();
  const trans = useTrans();
  const { at, kind } = message;
  const known = ['status', 'question', 'blocker', 'result', 'note'].includes(kind);
  return (
    <article
      data-key={message.key}
      className={classes('jp-Postdoc-RoomMessage', known && `jp-mod-${kind}`)}
      aria-label={trans.__('%1 from %2', kindText(trans, kind), message.agent)}
    >
      <header className="jp-Postdoc-RoomMessage-head">
        <span className="jp-Postdoc-RoomMessage-agent">{message.agent}</span>
        <span className="jp-Postdoc-RoomMessage-kind">
          <Icon name={kindIcon(kind)} />
          {kindText(trans, kind)}
        </span>
        {withRoom && (
          <button
            type="button"
            className="jp-Postdoc-RoomMessage-room"
            title={trans.__('Open the room %1', message.room)}
            onClick={() => onOpen(message.room)}
          >
            {message.room}
          </button>
        )}
        {at !== null && (
          <time dateTime={new Date(at).toISOString()} title={dateTime(at, language)}>
            {shortTime(at, language)}
          </time>
        )}
      </header>
      <div className="jp-Postdoc-RoomMessage-text">
        <MarkdownText source={message.content} />
      </div>
    </article>
  );
});

/** The time of day; with the date when it was another day. */
function shortTime(at: number, language: string): string {
  const today = new Date(at).toDateString() === new Date().toDateString();
  return today ? timeOfDay(at, language) : dateTime(at, language);
}
