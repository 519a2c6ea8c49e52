/** Work that waits until a part of the timeline comes near to the screen. */

const NEAR = '800px';
let observer: IntersectionObserver | null = null;
const waiting = new WeakMap<Element, () => void>();

/** Calls `then` once, when `node` is near to being seen. Returns what takes that back. */
export function whenNear(node: Element, then: () => void): () => void {
  if (typeof IntersectionObserver === 'undefined') {
    then();
    return () => undefined;
  }
  observer ??= new IntersectionObserver(
    entries => {
      for (const entry of entries) {
        const go = waiting.get(entry.target);
        if (entry.isIntersecting && go !== undefined) {
          waiting.delete(entry.target);
          observer?.unobserve(entry.target);
          go();
        }
      }
    },
    // The timeline scrolls in a box of its own: `scrollMargin` is what reaches beyond that one.
    { rootMargin: NEAR, scrollMargin: NEAR } as IntersectionObserverInit
  );
  waiting.set(node, then);
  observer.observe(node);
  return () => {
    waiting.delete(node);
    observer?.unobserve(node);
  };
}
