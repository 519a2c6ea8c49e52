/** The field that lies over a session's title while it is renamed. */
import React, { useEffect, useRef, useState } from 'react';

import { useTrans } from '../../platform';

interface RenameProps {
  title: string;
  /** The new title, or null when nothing is to be changed; `refocus`: the focus has not gone elsewhere. */
  onDone: (title: string | null, refocus: boolean) => void;
}

/** Enter or leaving it takes the new title, Esc takes the old one. */
export function Rename({ title, onDone }: RenameProps): JSX.Element {
  const trans = useTrans();
  const [text, setText] = useState(title);
  const field = useRef<HTMLInputElement>(null);
  const done = useRef(false);
  useEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const finish = (take: boolean, refocus: boolean) => {
    if (!done.current) {
      done.current = true;
      const next = text.trim();
      onDone(take && next !== '' && next !== title ? next : null, refocus);
    }
  };
  return (
    <input
      ref={field}
      className="jp-Postdoc-Input jp-Postdoc-Rename"
      aria-label={trans.__('New title')}
      value={text}
      maxLength={200}
      spellCheck={false}
      onChange={event => setText(event.target.value)}
      onBlur={() => finish(true, false)}
      onKeyDown={event => {
        if (event.key === 'Enter' || event.key === 'Escape') {
          event.preventDefault();
          finish(event.key === 'Enter', true);
        }
        event.stopPropagation(); // no key of this field is one of the list's or of JupyterLab's
      }}
    />
  );
}
