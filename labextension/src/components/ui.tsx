/** Small parts that every view is made of. */
import React, { useCallback, useEffect, useId, useRef, useState } from 'react';

import { clock } from '../format';
import type { Status } from '../model';
import type { Trans } from '../platform';
import { useTrans } from '../platform';
import type { IconName } from './icons';
import { Icon } from './icons';

export { statusOf } from '../store/status';
export { Icon } from './icons';
export type { IconName } from './icons';

/** Class names, without those that do not apply. */
export function classes(...names: (string | false | null | undefined)[]): string {
  return names.filter(Boolean).join(' ');
}

type ButtonProps = Omit<React.ButtonHTMLAttributes<HTMLButtonElement>, 'type'> & {
  kind?: 'accept' | 'warn' | 'plain' | 'link';
  icon?: IconName;
  /** Shows a spinner and takes no click; the focus stays where it is. */
  busy?: boolean;
  submit?: boolean;
};

/** A button with a text. */
export const Button = React.forwardRef<HTMLButtonElement, ButtonProps>(function Button(
  { kind = 'plain', icon, busy, submit, className, children, onClick, ...rest },
  ref
) {
  return (
    <button
      {...rest}
      ref={ref}
      type={submit ? 'submit' : 'button'}
      className={classes('jp-Postdoc-Button', `jp-mod-${kind}`, className)}
      aria-busy={busy || undefined}
      aria-disabled={busy || undefined}
      onClick={busy ? event => event.preventDefault() : onClick}
    >
      {busy ? <Icon name="spinner" /> : icon && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  );
});

type IconButtonProps = Omit<React.ButtonHTMLAttributes<HTMLButtonElement>, 'type' | 'children'> & {
  icon: IconName;
  label: string;
  pressed?: boolean;
};

/** A button with an icon only; `label` is its name and its tooltip. */
export const IconButton = React.forwardRef<HTMLButtonElement, IconButtonProps>(function IconButton(
  { icon, label, pressed, className, ...rest },
  ref
) {
  return (
    <button
      {...rest}
      ref={ref}
      type="button"
      className={classes('jp-Postdoc-IconButton', className)}
      aria-label={label}
      title={label}
      aria-pressed={pressed}
    >
      <Icon name={icon} />
    </button>
  );
});

export interface MenuItem {
  label: string;
  icon?: IconName;
  onSelect: () => void;
  disabled?: boolean;
  dangerous?: boolean;
  checked?: boolean;
}

interface MenuProps {
  /** The button's name. */
  label: string;
  icon?: IconName;
  /** Shown on the button beside the icon. */
  text?: string;
  items: readonly (MenuItem | 'separator')[];
  className?: string;
  disabled?: boolean;
}

/**
 * A button that opens a menu. ↑ ↓ Home End and first letters move, Enter and Space choose, Esc and Tab close; the focus
 * then goes back to the button.
 */
export function Menu({ label, icon = 'more', text, items, className, disabled }: MenuProps): JSX.Element {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();

  const entries = useCallback(
    () =>
      Array.from(
        list.current?.querySelectorAll<HTMLElement>('[role^=menuitem]:not([aria-disabled=true])') ?? []
      ),
    []
  );
  const close = useCallback((refocus: boolean) => {
    setOpen(false);
    if (refocus) {
      button.current?.focus();
    }
  }, []);

  useEffect(() => {
    if (!open) {
      return;
    }
    entries()[0]?.focus();
    place(list.current);
    const outside = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) {
        close(false);
      }
    };
    document.addEventListener('pointerdown', outside, true);
    document.addEventListener('focusin', outside);
    return () => {
      document.removeEventListener('pointerdown', outside, true);
      document.removeEventListener('focusin', outside);
    };
  }, [open, entries, close]);

  const onKey = (event: React.KeyboardEvent) => {
    const all = entries();
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = (index: number) => all[(index + all.length) % all.length]?.focus();
    switch (event.key) {
      case 'ArrowDown':
        to(at + 1);
        break;
      case 'ArrowUp':
        to(at - 1);
        break;
      case 'Home':
        to(0);
        break;
      case 'End':
        to(-1);
        break;
      case 'Escape':
        close(true);
        break;
      case 'Tab':
        close(true);
        return;
      default: {
        const letter = event.key.length === 1 ? event.key.toLowerCase() : '';
        const next = [...all.slice(at + 1), ...all.slice(0, at + 1)].find(
          entry => letter.trim() !== '' && entry.textContent?.trim().toLowerCase().startsWith(letter)
        );
        next?.focus();
        if (next === undefined) {
          return;
        }
      }
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div
      className={classes('jp-Postdoc-Menu', className)}
      ref={root}
      onClick={event => event.stopPropagation()}
    >
      <button
        ref={button}
        type="button"
        className={text === undefined ? 'jp-Postdoc-IconButton' : 'jp-Postdoc-Button jp-mod-plain'}
        aria-label={label}
        title={label}
        aria-haspopup="menu"
        aria-expanded={open}
        aria-controls={open ? id : undefined}
        disabled={disabled}
        onClick={() => setOpen(!open)}
        onKeyDown={event => {
          if (!open && event.key === 'ArrowDown') {
            event.preventDefault();
            setOpen(true);
          }
        }}
      >
        <Icon name={icon} />
        {text !== undefined && <span>{text}</span>}
      </button>
      {open && (
        <ul
          className="jp-Postdoc-Menu-list"
          role="menu"
          id={id}
          aria-label={label}
          ref={list}
          onKeyDown={onKey}
        >
          {items.map((item, index) =>
            item === 'separator' ? (
              <li key={index} role="separator" />
            ) : (
              <li
                key={index}
                role={item.checked === undefined ? 'menuitem' : 'menuitemradio'}
                aria-checked={item.checked}
                tabIndex={-1}
                className={classes('jp-Postdoc-Menu-item', item.dangerous && 'jp-mod-dangerous')}
                aria-disabled={item.disabled || undefined}
                onClick={() => {
                  if (!item.disabled) {
                    close(true);
                    item.onSelect();
                  }
                }}
                onKeyDown={event => {
                  if ((event.key === 'Enter' || event.key === ' ') && !item.disabled) {
                    event.preventDefault();
                    event.stopPropagation();
                    close(true);
                    item.onSelect();
                  }
                }}
              >
                {item.icon ? <Icon name={item.icon} /> : <span className="jp-Postdoc-Icon" />}
                <span>{item.label}</span>
                {item.checked && <Icon name="check" />}
              </li>
            )
          )}
        </ul>
      )}
    </div>
  );
}

/** Keep an open menu inside of the window: it opens to the left of its button's end, below it, where there is room. */
function place(list: HTMLElement | null): void {
  if (list === null) {
    return;
  }
  const box = list.getBoundingClientRect();
  list.classList.toggle('jp-mod-up', box.bottom > window.innerHeight && box.top > box.height);
  list.classList.toggle('jp-mod-start', box.left < 0);
}

/** The time since `since` (milliseconds since 1970), as m:ss, ticking once a second. */
export function Elapsed({ since }: { since: number }): JSX.Element {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    setNow(Date.now());
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, [since]);
  return <span className="jp-Postdoc-Elapsed">{clock(Math.max(0, now - since))}</span>;
}

interface DisclosureProps {
  summary: React.ReactNode;
  /** Given: the owner decides, and hears `onToggle`. Not given: it remembers by itself, closed at first. */
  open?: boolean;
  onToggle?: (open: boolean) => void;
  className?: string;
  children?: React.ReactNode;
}

/** A line that opens to show more. What is inside is made only while it is open. */
export function Disclosure({ summary, open, onToggle, className, children }: DisclosureProps): JSX.Element {
  const [own, setOwn] = useState(false);
  const id = useId();
  const shown = open ?? own;
  return (
    <div className={classes('jp-Postdoc-Disclosure', shown && 'jp-mod-open', className)}>
      <button
        type="button"
        className="jp-Postdoc-Disclosure-summary"
        aria-expanded={shown}
        aria-controls={shown ? id : undefined}
        onClick={() => {
          setOwn(!shown);
          onToggle?.(!shown);
        }}
      >
        <Icon name="chevron" className="jp-Postdoc-Disclosure-arrow" />
        {summary}
      </button>
      {shown && (
        <div className="jp-Postdoc-Disclosure-body" id={id}>
          {children}
        </div>
      )}
    </div>
  );
}

export type Tone = 'neutral' | 'info' | 'warn' | 'error' | 'success';
const TONE_ICONS: Record<Tone, IconName | null> = {
  neutral: null,
  info: 'info',
  warn: 'warn',
  error: 'error',
  success: 'check'
};

type CardProps = Omit<React.HTMLAttributes<HTMLElement>, 'title'> & {
  tone?: Tone;
  icon?: IconName;
  title?: React.ReactNode;
  actions?: React.ReactNode;
};

/** A framed block with a title, a body, and buttons below. */
export const Card = React.forwardRef<HTMLElement, CardProps>(function Card(
  { tone = 'neutral', icon, title, actions, className, children, ...rest },
  ref
) {
  const shown = icon ?? TONE_ICONS[tone];
  return (
    <section {...rest} ref={ref} className={classes('jp-Postdoc-Card', `jp-mod-${tone}`, className)}>
      {title !== undefined && (
        <header className="jp-Postdoc-Card-title">
          {shown && <Icon name={shown} />}
          <span>{title}</span>
        </header>
      )}
      {children !== undefined && <div className="jp-Postdoc-Card-body">{children}</div>}
      {actions && <footer className="jp-Postdoc-Card-actions">{actions}</footer>}
    </section>
  );
});

interface BannerProps {
  tone?: Tone;
  /** `alert` is read out at once, `status` when there is a pause. */
  role?: 'alert' | 'status';
  actions?: React.ReactNode;
  children: React.ReactNode;
}

/** One line over a view that says how things stand. */
export function Banner({ tone = 'info', role = 'status', actions, children }: BannerProps): JSX.Element {
  const icon = TONE_ICONS[tone];
  return (
    <div className={classes('jp-Postdoc-Banner', `jp-mod-${tone}`)} role={role}>
      {icon && <Icon name={icon} />}
      <span className="jp-Postdoc-Banner-text">{children}</span>
      {actions}
    </div>
  );
}

interface EmptyProps {
  icon?: IconName;
  title: React.ReactNode;
  actions?: React.ReactNode;
  children?: React.ReactNode;
}

/** What a view shows when it has nothing: why, and what to do. */
export function Empty({ icon, title, actions, children }: EmptyProps): JSX.Element {
  return (
    <div className="jp-Postdoc-Empty">
      {icon && <Icon name={icon} />}
      <p className="jp-Postdoc-Empty-title">{title}</p>
      {children && <div className="jp-Postdoc-Empty-body">{children}</div>}
      {actions && <div className="jp-Postdoc-Empty-actions">{actions}</div>}
    </div>
  );
}

interface ProgressProps {
  /** 0 to 1. */
  value: number;
  label: string;
  tone?: Tone;
}

/** A thin bar. */
export function Progress({ value, label, tone = 'neutral' }: ProgressProps): JSX.Element {
  const share = Math.min(1, Math.max(0, value));
  return (
    <div
      className={classes('jp-Postdoc-Progress', `jp-mod-${tone}`)}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(share * 100)}
      title={label}
    >
      <span style={{ width: `${share * 100}%` }} />
    </div>
  );
}

const STATE_ICONS: Record<Status, IconName> = {
  queued: 'clock',
  starting: 'spinner',
  running: 'spinner',
  waiting: 'hand',
  paused: 'hand',
  stopping: 'spinner',
  finished: 'check',
  stopped: 'square',
  error: 'error',
  interrupted: 'plug',
  unknown: 'help'
};

/** The icon of a session's state; the text beside it is {@link stateText}. */
export function StateIcon({ status }: { status: Status }): JSX.Element {
  return <Icon name={STATE_ICONS[status]} className={`jp-Postdoc-State jp-mod-${status}`} />;
}

/** A session's state in words. */
export function stateText(trans: Trans, status: Status, reason?: string | null): string {
  switch (status) {
    case 'queued':
      return trans.__('Queued');
    case 'starting':
      return trans.__('Preparing workspace…');
    case 'running':
      return trans.__('Running');
    case 'waiting':
    case 'paused':
      return reason === 'taken_over' ? trans.__('Waits for the notebook') : trans.__('Needs your answer');
    case 'stopping':
      return trans.__('Stopping after the current step…');
    case 'finished':
      return reason === 'idle' ? trans.__('Ready') : trans.__('Finished');
    case 'stopped':
      return reason === 'user' ? trans.__('Stopped by you') : trans.__('Stopped');
    case 'error':
      return trans.__('Failed');
    case 'interrupted':
      return trans.__('Server restarted during this run');
    case 'unknown':
      return trans.__('Unknown state');
  }
}

/** A state as a chip: icon and text. */
export function StateChip({ status, reason }: { status: Status; reason?: string | null }): JSX.Element {
  const trans = useTrans();
  return (
    <span className={`jp-Postdoc-StateChip jp-mod-${status}`}>
      <StateIcon status={status} />
      {stateText(trans, status, reason)}
    </span>
  );
}
