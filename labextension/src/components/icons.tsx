/** The icons, 16 × 16, drawn in the colour of the text around them. */
import React from 'react';

const PATHS = {
  add: 'M8 3v10M3 8h10',
  archive: 'M2.5 3.5h11v3h-11zM3.5 6.5v6h9v-6M6.5 9h3',
  back: 'M9.5 3.5 5 8l4.5 4.5',
  bolt: 'M9 2 4 9h3.5L7 14l5-7H8.5z',
  book: 'M3 3h4a1.5 1.5 0 0 1 1 1 1.5 1.5 0 0 1 1-1h4v9.5H9a1.2 1.2 0 0 0-1 .8 1.2 1.2 0 0 0-1-.8H3zM8 4v9',
  branch:
    'M5 6v4M5 10.8a1.2 1.2 0 1 0 0 2.4 1.2 1.2 0 0 0 0-2.4zM5 3.2a1.2 1.2 0 1 0 0 2.4 1.2 1.2 0 0 0 0-2.4zM11 4.2a1.2 1.2 0 1 0 0 2.4 1.2 1.2 0 0 0 0-2.4zM11 6.6C11 9 5 8 5 10.4',
  chat: 'M2.5 3.5h11v7.5H8l-3 2.5V11H2.5z',
  check: 'm3.5 8.5 3 3 6-7',
  chevron: 'm4.5 6.5 3.5 3.5 3.5-3.5',
  clock: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM8 5v3.2l2 1.3',
  close: 'm4 4 8 8M12 4l-8 8',
  code: 'M5.5 4.5 2 8l3.5 3.5M10.5 4.5 14 8l-3.5 3.5',
  commit: 'M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM1.5 8h4M10.5 8h4',
  copy: 'M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3',
  dash: 'M4.5 8h7',
  data: 'M2.5 3.5h11v9h-11zM2.5 6.5h11M6.5 3.5v9',
  dot: 'M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z',
  down: 'M8 3v9M4.5 8.5 8 12l3.5-3.5',
  edit: 'm3 13 .6-2.7L10.8 3l2.2 2.2-7.3 7.2z',
  error: 'm4.5 4.5 7 7M11.5 4.5l-7 7',
  external: 'M7 4H3.5v8.5H12V9M9.5 3.5h3v3M12.5 3.5 7.5 8.5',
  eye: 'M1.8 8S4 4 8 4s6.2 4 6.2 4-2.2 4-6.2 4-6.2-4-6.2-4zM8 6.200a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.600z',
  file: 'M4 2.5h5l3 3v8H4zM9 2.5v3h3',
  filter: 'M2.5 4h11M4.5 8h7M6.5 12h3',
  folder: 'M2 4h4.5l1.5 1.5H14V12.5H2z',
  globe: 'M8 2.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM2.5 8h11M8 2.5c2 2 2 9 0 11M8 2.5c-2 2-2 9 0 11',
  hand: 'M5 8V4.5a1 1 0 0 1 2 0V7 3.5a1 1 0 0 1 2 0V7 4.5a1 1 0 0 1 2 0V9c0 3-1.2 4.5-3.5 4.5S4.5 12 3 9.5a1 1 0 0 1 1.6-1z',
  help: 'M6 6a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.4M8 11.4v.2M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z',
  image: 'M2.5 3.5h11v9h-11zM2.5 11l3.5-3.5 3 3 1.5-1.5 3 3M10.5 5.8v.1',
  info: 'M8 7.5v3.5M8 5v.2M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2z',
  key: 'M6 10a2.7 2.7 0 1 1 2.2-4.2L13.5 5.8V8h-1.7v1.6h-2V8H8.4A2.7 2.7 0 0 1 6 10zM5.5 7.3v.1',
  list: 'M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.1M2.5 8h.1M2.5 12h.1',
  lock: 'M4 7.5h8v6H4zM5.5 7.5V5.500a2.5 2.5 0 0 1 5 0v2',
  merge:
    'M4.5 6v7M4.5 2.800a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM11.500 8.300a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM4.5 6c0 2.500 2.500 3.800 5.500 3.800',
  more: 'M3.5 8h.1M8 8h.1M12.5 8h.1',
  notebook: 'M4 2.5h9v11H4zM6.5 2.5v11M2.5 5H5M2.5 8H5M2.5 11H5',
  persona: 'M8 2.8a2.6 2.6 0 1 0 0 5.2 2.6 2.6 0 0 0 0-5.2zM3 13.2c.5-3 2.5-4 5-4s4.5 1 5 4',
  play: 'M5 3.5v9L12.5 8z',
  plug: 'M6 2.500v3M10 2.500v3M4.5 5.500h7v2a3.5 3.5 0 0 1-7 0zM8 11v2.5',
  publish: 'M8 10.500V3M4.800 6.200 8 3l3.200 3.200M3 10.500v2.500h10v-2.500',
  pull: 'M4.5 6v7M4.5 2.800a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM11.500 10a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3zM11.500 10V6.500a2 2 0 0 0-2-2H8M9.300 3 7.800 4.500l1.500 1.500',
  question: 'M6 6a2 2 0 1 1 2.8 1.800c-.6.3-.8.7-.8 1.700M8 12v.2',
  refresh: 'M12.5 5.500A5 5 0 1 0 13 8M12.8 2.800v3h-3',
  rooms: 'M2.5 3h8v5.500H6L4 10.500V8.500H2.500zM6.5 11.500h4l2 2v-2h1V6H12',
  search: 'M7 2.800a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.400zM10 10l3.5 3.5',
  send: 'M2.5 13.5 14 8 2.5 2.5 4.5 8zM4.5 8H9',
  settings: 'M2.5 5h6M11.5 5h2M10 3.500v3M2.5 11h2M7.5 11h6M6 9.500v3',
  shell: 'm3 5 3 3-3 3M8 11.500h5',
  spinner: 'M8 2.500A5.5 5.5 0 0 1 13.5 8',
  square: 'M4 4h8v8H4z',
  star: 'm8 2.5 1.7 3.6 3.9.5-2.9 2.7.8 3.900L8 11.300l-3.5 1.9.8-3.900L2.4 6.600l3.9-.5z',
  stop: 'M4 4h8v8H4z',
  thought: 'M5 10.500a3 3 0 0 1-.5-5.9 3.5 3.5 0 0 1 6.7-.2 3 3 0 0 1 .3 6zM5.5 13.300v.1',
  trash: 'M3 4.500h10M6.5 4.500v-2h3v2M4.5 4.500l.5 9h6l.5-9',
  undo: 'M5 3 2.5 5.5 5 8M2.5 5.500h7a3.5 3.5 0 0 1 0 7H6',
  warn: 'M8 2.5 14 13H2zM8 6.500v3M8 11.200v.1'
} as const;

export type IconName = keyof typeof PATHS;
const FILLED = new Set<IconName>(['play', 'stop', 'square']);

/** An icon. It says nothing to a screen reader: the text beside it, or the button's label, does. */
export const Icon = React.memo(function Icon({ name, className }: { name: IconName; className?: string }) {
  return (
    <svg
      className={`jp-Postdoc-Icon${name === 'spinner' ? ' jp-mod-spin' : ''}${className ? ` ${className}` : ''}`}
      viewBox="0 0 16 16"
      width="16"
      height="16"
      fill={FILLED.has(name) ? 'currentColor' : 'none'}
      stroke="currentColor"
      strokeWidth={name === 'more' ? 2.2 : 1.4}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
});
