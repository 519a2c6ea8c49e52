import { act, fireEvent, render, screen } from '@testing-library/react';
import React, { useRef } from 'react';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { usePlace } from '../usePlace';

/** A box of 500 px whose content has the height `size.all`; the browser's own rules, as far as they matter. */
const size = { all: 2000, box: 500 };
let top = 0;

function Reader({ changed, onTop }: { changed: number; onTop: () => void }): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const place = usePlace(box, inner, changed, onTop);
  return (
    <div data-testid="box" ref={box} onScroll={place.onScroll} onClickCapture={place.onClickCapture}>
      <div ref={inner} />
      <output>{place.following ? 'follows' : 'stays'}</output>
      <button onClick={place.toEnd}>end</button>
    </div>
  );
}

const box = () => screen.getByTestId('box');
const says = () => document.querySelector('output')?.textContent;
/** The position changes, by whomever, and the page hears of it. */
const scrolled = (to: number) => {
  box().scrollTop = to;
  fireEvent.scroll(box());
};

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout', 'Date'] });
  size.all = 2000;
  top = 0;
  const give = (name: string, get: () => number) =>
    vi.spyOn(Element.prototype, name as 'scrollHeight', 'get').mockImplementation(get);
  give('scrollHeight', () => size.all);
  give('clientHeight', () => size.box);
  give('scrollTop', () => top);
  vi.spyOn(Element.prototype, 'scrollTop', 'set').mockImplementation(value => {
    top = Math.max(0, Math.min(value, size.all - size.box));
  });
  return () => vi.useRealTimers();
});

describe('the place of the reader', () => {
  it('is the end at first, and stays the end when something is added', () => {
    const { rerender } = render(<Reader changed={1} onTop={() => {}} />);
    expect(top).toBe(1500);
    size.all = 2600;
    rerender(<Reader changed={2} onTop={() => {}} />);
    expect(top).toBe(2100);
  });

  it('is kept when the browser goes up by itself just after something has changed', () => {
    render(<Reader changed={1} onTop={() => {}} />);
    scrolled(1200);
    expect(top).toBe(1500);
    expect(says()).toBe('follows');
  });

  it.each(['wheel', 'touchmove', 'keydown', 'pointerdown'])('is left at once after a %s', name => {
    render(<Reader changed={1} onTop={() => {}} />);
    fireEvent(box(), new Event(name, { bubbles: true }));
    scrolled(1200);
    expect(top).toBe(1200);
    expect(says()).toBe('stays');
  });

  it('is left by whatever scrolls when all has come to rest, e.g. the search of the browser', () => {
    render(<Reader changed={1} onTop={() => {}} />);
    act(() => void vi.advanceTimersByTime(300));
    scrolled(1200);
    expect(top).toBe(1200);
    expect(says()).toBe('stays');
  });

  it('is found again near the end, and by the button', () => {
    const { rerender } = render(<Reader changed={1} onTop={() => {}} />);
    act(() => void vi.advanceTimersByTime(300));
    scrolled(1200);
    size.all = 2200;
    rerender(<Reader changed={2} onTop={() => {}} />);
    expect(top).toBe(1200);
    scrolled(1665);
    expect(says()).toBe('follows');
    scrolled(1000);
    act(() => void vi.advanceTimersByTime(300));
    scrolled(999);
    expect(says()).toBe('stays');
    act(() => screen.getByText('end').click());
    expect(top).toBe(1700);
    expect(says()).toBe('follows');
  });

  it('asks for more near the top, on the way up only', () => {
    const onTop = vi.fn();
    render(<Reader changed={1} onTop={onTop} />);
    act(() => void vi.advanceTimersByTime(300));
    scrolled(100);
    expect(onTop).not.toHaveBeenCalled();
    scrolled(60);
    expect(onTop).toHaveBeenCalledTimes(1);
    scrolled(70);
    expect(onTop).toHaveBeenCalledTimes(1);
  });
});
