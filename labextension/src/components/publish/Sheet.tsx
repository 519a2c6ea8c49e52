/** A dialog over everything: the browser keeps the keyboard inside of it and closes it on Esc. */
import React, { useEffect, useId, useRef } from 'react';
import { createPortal } from 'react-dom';

import { useTrans } from '../../platform';
import { IconButton } from '../ui';

interface SheetProps {
  title: string;
  onClose: () => void;
  /** Buttons at its lower edge, always in view. */
  footer?: React.ReactNode;
  children: React.ReactNode;
}

/**
 * The focus goes to what is marked `data-autofocus`, else to the heading; when it is closed, to where it came from. It
 * is a child of the page, not of the view that opened it: the keys of that view do nothing in it.
 */
export function Sheet({ title, onClose, footer, children }: SheetProps): JSX.Element {
  const trans = useTrans();
  const id = useId();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    const element = dialog.current;
    if (element !== null && !element.open) {
      if (typeof element.showModal === 'function') {
        element.showModal();
      } else {
        element.setAttribute('open', '');
      }
    }
    (element?.querySelector<HTMLElement>('[data-autofocus]') ?? heading.current)?.focus();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) {
        before.focus();
      }
    };
  }, []);
  return createPortal(
    <dialog
      className="jp-Postdoc jp-Postdoc-Sheet"
      ref={dialog}
      aria-labelledby={id}
      onCancel={event => {
        event.preventDefault();
        onClose();
      }}
      onClick={event => event.stopPropagation()}
      // React hands events on to what rendered the dialog, wherever it is in the page: a form there must not be sent.
      onSubmit={event => event.stopPropagation()}
      onKeyDown={event => {
        event.stopPropagation();
        if (event.key === 'Escape') {
          event.preventDefault();
          onClose();
        }
      }}
    >
      <header className="jp-Postdoc-Sheet-head">
        <h2 id={id} tabIndex={-1} ref={heading}>
          {title}
        </h2>
        <IconButton icon="close" label={trans.__('Close')} onClick={onClose} />
      </header>
      <div className="jp-Postdoc-Sheet-body">{children}</div>
      {footer !== undefined && <footer className="jp-Postdoc-Sheet-footer">{footer}</footer>}
    </dialog>,
    document.body
  );
}
