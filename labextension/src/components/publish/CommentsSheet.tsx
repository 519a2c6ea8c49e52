/** What people have written at the pull request, to be given to the agent. */
import React, { useCallback, useEffect, useRef, useState } from 'react';

import type { Comment } from '../../client';
import { relative } from '../../format';
import { EXTERNAL, safeUrl } from '../../links';
import { plainLine } from '../../plain';
import { usePlatform, useTrans } from '../../platform';
import { Field } from '../form/Field';
import { troubleOf } from '../session/trouble';
import { Button } from '../ui';
import { Sheet } from './Sheet';

const MAX_NOTE = 2000;

export function CommentsSheet({ session, onClose }: { session: string; onClose: () => void }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const [comments, setComments] = useState<readonly Comment[] | null>(null);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [note, setNote] = useState('');
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string | null>(null);
  const alive = useRef(true);

  const load = useCallback(() => {
    setTrouble(null);
    client.comments(session).then(
      found => {
        if (alive.current) {
          setComments(found);
          // What people wrote and the agent has not yet is what one comes here for.
          setChosen(new Set(found.filter(one => !one.handed && !one.bot).map(one => String(one.id))));
        }
      },
      (error: unknown) => alive.current && setTrouble(troubleOf(error))
    );
  }, [client, session]);
  useEffect(() => {
    alive.current = true;
    load();
    return () => {
      alive.current = false;
    };
  }, [load]);

  const ids = (comments ?? []).filter(one => chosen.has(String(one.id))).map(one => one.id);
  const hand = () => {
    setBusy(true);
    setTrouble(null);
    client.handComments(session, ids, note.trim()).then(onClose, (error: unknown) => {
      if (alive.current) {
        setBusy(false);
        setTrouble(troubleOf(error));
      }
    });
  };
  const toggle = (id: string, on: boolean) =>
    setChosen(known => {
      const next = new Set(known);
      if (on) {
        next.add(id);
      } else {
        next.delete(id);
      }
      return next;
    });
  return (
    <Sheet
      title={trans.__('Hand comments to the agent')}
      onClose={onClose}
      footer={
        <>
          <Button kind="accept" icon="send" busy={busy} disabled={ids.length === 0} onClick={hand}>
            {ids.length === 0
              ? trans.__('Hand over')
              : trans._n('Hand over %1 comment', 'Hand over %1 comments', ids.length)}
          </Button>
          <Button onClick={onClose}>{trans.__('Cancel')}</Button>
        </>
      }
    >
      {trouble !== null && (
        <p role="alert">
          {trouble}{' '}
          {comments === null && (
            <Button kind="link" onClick={load}>
              {trans.__('Retry')}
            </Button>
          )}
        </p>
      )}
      {comments === null ? (
        trouble === null && <p role="status">{trans.__('Asking GitHub for the comments…')}</p>
      ) : comments.length === 0 ? (
        <p>{trans.__('There is no comment yet.')}</p>
      ) : (
        <>
          <p>
            {trans.__(
              'Anybody who may comment there has written these: read what you hand over. The agent is told to judge them, and takes orders from your note only.'
            )}
          </p>
          <ul className="jp-Postdoc-Comments" aria-label={trans.__('Comments')}>
            {comments.map((comment, index) => (
              <CommentRow
                key={String(comment.id)}
                comment={comment}
                checked={chosen.has(String(comment.id))}
                first={index === 0}
                onChange={on => toggle(String(comment.id), on)}
              />
            ))}
          </ul>
          <Field
            label={trans.__('Your note to the agent')}
            name="note"
            help={trans.__('For example what to do about them, and what to leave as it is.')}
          >
            {wiring => (
              <textarea
                {...wiring}
                className="jp-Postdoc-Textarea"
                rows={2}
                maxLength={MAX_NOTE}
                value={note}
                onChange={event => setNote(event.target.value)}
              />
            )}
          </Field>
        </>
      )}
    </Sheet>
  );
}

interface CommentProps {
  comment: Comment;
  checked: boolean;
  first: boolean;
  onChange: (on: boolean) => void;
}

/** Its text is shown as it was written, not as markdown: what is handed over is what is read. */
function CommentRow({ comment, checked, first, onChange }: CommentProps): JSX.Element {
  const { language } = usePlatform();
  const trans = useTrans();
  const { path, line, handed, bot, review } = comment;
  const at = Date.parse(comment.at);
  const url = safeUrl(comment.url);
  const who = plainLine(comment.author) || trans.__('somebody');
  const words: Record<string, string> = {
    approved: trans.__('approved'),
    changes_requested: trans.__('asked for changes'),
    commented: trans.__('reviewed')
  };
  const where = path ? `${plainLine(path)}${line !== null ? `:${line}` : ''}` : '';
  return (
    <li className="jp-Postdoc-Comment">
      <label className="jp-Postdoc-Tick">
        <input
          type="checkbox"
          checked={checked}
          data-autofocus={first ? '' : undefined}
          onChange={event => onChange(event.target.checked)}
        />
        <span>
          <span className="jp-Postdoc-Comment-head">
            <strong>{who}</strong>
            {bot && <span>{trans.__('(a program)')}</span>}
            {review !== null && words[review.toLowerCase()] && <span>{words[review.toLowerCase()]}</span>}
            {where && <code>{where}</code>}
            {!Number.isNaN(at) && <time dateTime={comment.at}>{relative(at, Date.now(), language)}</time>}
            {handed && <span>· {trans.__('handed over before')}</span>}
          </span>
          <span className="jp-Postdoc-Comment-text">{comment.body}</span>
        </span>
      </label>
      {url && (
        <a className="jp-Postdoc-Comment-link" href={url} {...EXTERNAL}>
          {trans.__('Open on GitHub')}
          <span className="jp-Postdoc-hidden"> ({who})</span>
        </a>
      )}
    </li>
  );
}
