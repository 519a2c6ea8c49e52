/** Code and diffs, as text that can be copied. */
import React, { memo, useMemo, useRef, useState } from 'react';

import { exposed, plainOutput } from '../../plain';
import { usePlatform, useTrans } from '../../platform';
import { Button, IconButton } from '../ui';
import type { Change } from './changes';
import { linesOf } from './changes';

/** A button that copies, and says so for a moment. */
export function CopyButton({ text, label }: { text: string; label?: string }): JSX.Element {
  const platform = usePlatform();
  const trans = useTrans();
  const [done, setDone] = useState(false);
  return (
    <IconButton
      icon={done ? 'check' : 'copy'}
      label={done ? trans.__('Copied') : (label ?? trans.__('Copy'))}
      onClick={() => {
        void platform.copy(text).then(() => {
          setDone(true);
          window.setTimeout(() => setDone(false), 1500);
        });
      }}
    />
  );
}

const LINES = 200;

/** Text in lines: the first 200 of them (`tail`: the last), all on demand. `more` fetches what the text lacks. */
export function Output({
  text,
  tail,
  more,
  label
}: {
  text: string;
  tail?: boolean;
  more?: () => Promise<string>;
  label: string;
}): JSX.Element {
  const trans = useTrans();
  const pre = useRef<HTMLPreElement>(null);
  const [all, setAll] = useState(false);
  const [fetched, setFetched] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState(false);
  const lines = useMemo(() => plainOutput(fetched ?? text).split('\n'), [fetched, text]);
  const long = lines.length > LINES || more !== undefined;
  const show = () => {
    pre.current?.focus({ preventScroll: true }); // the button goes away
    setAll(true);
  };
  const showAll = () => {
    if (more === undefined) {
      show();
      return;
    }
    setBusy(true);
    setFailed(false);
    more()
      .then(
        whole => {
          setFetched(whole);
          show();
        },
        () => setFailed(true)
      )
      .finally(() => setBusy(false));
  };
  return (
    <div className="jp-Postdoc-Output">
      <pre tabIndex={0} aria-label={label} ref={pre}>
        {(all ? lines : tail ? lines.slice(-LINES) : lines.slice(0, LINES)).join('\n')}
      </pre>
      {long && !all && (
        <Button kind="link" busy={busy} onClick={showAll}>
          {trans.__('Show all')}
        </Button>
      )}
      {failed && <span role="alert">{trans.__('The whole text could not be fetched. Try again.')}</span>}
    </div>
  );
}

/** A piece of code with its buttons. */
export function CodeBlock({ code, label }: { code: string; label: string }): JSX.Element {
  const platform = usePlatform();
  const trans = useTrans();
  const { insertCode } = platform;
  return (
    <div className="jp-Postdoc-Code">
      <div className="jp-Postdoc-Code-buttons">
        <CopyButton text={code} />
        {insertCode !== undefined && (
          <IconButton
            icon="notebook"
            label={trans.__('Insert into notebook')}
            onClick={() => insertCode.call(platform, code)}
          />
        )}
      </div>
      <Output text={exposed(code)} label={label} />
    </div>
  );
}

/** What changed in one cell or file. The signs are read out, not only coloured. */
export const Diff = memo(function Diff({ change }: { change: Change }) {
  const trans = useTrans();
  return (
    <div className="jp-Postdoc-Diff">
      <div className="jp-Postdoc-Diff-title">
        <code>{change.name}</code>
        <span>
          {change.what === 'added'
            ? trans.__('written')
            : change.what === 'removed'
              ? trans.__('removed')
              : change.what === 'moved'
                ? trans.__('moved')
                : trans.__('changed')}
        </span>
        {change.after !== null && <CopyButton text={change.after} label={trans.__('Copy the new code')} />}
      </div>
      <DiffText change={change} />
    </div>
  );
});

function DiffText({ change }: { change: Change }): JSX.Element | null {
  const trans = useTrans();
  const pre = useRef<HTMLPreElement>(null);
  const [all, setAll] = useState(false);
  const words = { '+': trans.__('added'), '−': trans.__('removed'), ' ': '' };
  if (change.before === null && change.after === null) {
    return null; // moved, or removed without anybody having seen what it was
  }
  const lines = linesOf(change);
  return (
    <>
      <pre tabIndex={0} aria-label={trans.__('Changes of %1', change.name)} ref={pre}>
        {(all ? lines : lines.slice(0, LINES)).map((line, index) =>
          line === null ? (
            <span key={index} className="jp-Postdoc-Diff-gap">
              {'⋯\n'}
            </span>
          ) : (
            <span
              key={index}
              className={`jp-Postdoc-Diff-line${line.sign === '+' ? ' jp-mod-added' : line.sign === '−' ? ' jp-mod-removed' : ''}`}
            >
              <span className="jp-Postdoc-Diff-sign" aria-hidden="true">
                {line.sign}
              </span>
              {words[line.sign] && <span className="jp-Postdoc-hidden">{`${words[line.sign]}: `}</span>}
              {`${exposed(line.text)}\n`}
            </span>
          )
        )}
      </pre>
      {!all && lines.length > LINES && (
        <Button
          kind="link"
          onClick={() => {
            pre.current?.focus({ preventScroll: true }); // the button goes away
            setAll(true);
          }}
        >
          {trans.__('Show all')}
        </Button>
      )}
    </>
  );
}
