// What JupyterLab's packages expect of a browser and jsdom does not have.
import { cleanup } from '@testing-library/react';
import { afterEach } from 'vitest';

class NoResizeObserver {
  observe(): void {}
  unobserve(): void {}
  disconnect(): void {}
}

Object.assign(globalThis, {
  DragEvent: globalThis.DragEvent ?? class DragEvent extends Event {},
  ResizeObserver: globalThis.ResizeObserver ?? NoResizeObserver,
  matchMedia:
    globalThis.matchMedia ??
    (() => ({
      matches: false,
      addEventListener() {},
      removeEventListener() {},
      addListener() {},
      removeListener() {}
    }))
});

Element.prototype.scrollIntoView ??= () => {};

afterEach(cleanup);
