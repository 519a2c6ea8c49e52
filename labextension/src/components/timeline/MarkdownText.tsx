/** Text as markdown, block by block, each rendered once. */
import React, { memo, useEffect, useMemo, useRef } from 'react';

import { BlockSplitter } from '../../markdown/blocks';
import type { Activation, Markdown, Platform } from '../../platform';
import { usePlatform } from '../../platform';

interface Props {
  source: string;
  /** More is coming: the last block is shown as it grows. */
  streaming?: boolean;
}

/** Rendering is put off until a block comes near to the screen; until then its text is there as it is. */
const NEAR = '800px';
let observer: IntersectionObserver | null = null;
const waiting = new WeakMap<Element, () => void>();

function whenNear(node: Element, then: () => void): () => void {
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
    { rootMargin: NEAR }
  );
  waiting.set(node, then);
  observer.observe(node);
  return () => {
    waiting.delete(node);
    observer?.unobserve(node);
  };
}

/** What clicks in shown text do on this platform. */
export function useActivation(): Activation {
  const platform = usePlatform();
  return useMemo(() => activationOf(platform), [platform]);
}

function activationOf(platform: Platform): Activation {
  const { openFile, trans } = platform;
  return {
    loadImage: host => trans.__('Load image from %1', host),
    openPath: openFile === undefined ? undefined : path => openFile.call(platform, path)
  };
}

/** Sanitised markdown. Long texts cost what their last block costs. */
export const MarkdownText = memo(function MarkdownText({ source, streaming }: Props) {
  const splitter = useRef<BlockSplitter | null>(null);
  splitter.current ??= new BlockSplitter();
  const blocks = splitter.current.split(source);
  return (
    <div className="jp-Postdoc-Markdown">
      {blocks.map((block, index) => (
        <Block key={index} source={block} live={streaming === true && index === blocks.length - 1} />
      ))}
    </div>
  );
});

/** Shows one block in its host: one rendering at a time, and then the newest text. */
class BlockView {
  private shown: { dispose(): void } | null = null;
  private wanted: string | null = null;
  private busy = false;
  private disposed = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly markdown: Markdown,
    private readonly activation: Activation
  ) {}

  update(source: string): void {
    this.wanted = source;
    if (!this.busy) {
      void this.render();
    }
  }

  dispose(): void {
    this.disposed = true;
    this.shown?.dispose();
    this.shown = null;
  }

  private async render(): Promise<void> {
    this.busy = true;
    while (this.wanted !== null && !this.disposed) {
      const text = this.wanted;
      this.wanted = null;
      const before = this.shown;
      this.shown = this.markdown.render(this.host, text, this.activation);
      const { ready } = this.shown as ReturnType<Markdown['render']>;
      try {
        await ready;
      } catch {
        this.host.textContent = text; // a renderer that fails must not hide what was said
      }
      before?.dispose();
    }
    this.busy = false;
  }
}

const Block = memo(function Block({ source, live }: { source: string; live: boolean }) {
  const { markdown } = usePlatform();
  const activation = useActivation();
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<BlockView | null>(null);

  useEffect(() => {
    const node = host.current;
    if (node === null) {
      return undefined;
    }
    const made = new BlockView(node, markdown, activation);
    view.current = made;
    return () => {
      view.current = null;
      made.dispose();
    };
  }, [markdown, activation]);

  useEffect(() => {
    const node = host.current;
    if (node === null) {
      return undefined;
    }
    const show = () => view.current?.update(source);
    if (live || node.childElementCount > 0) {
      show();
      return undefined;
    }
    node.textContent = source;
    return whenNear(node, show);
  }, [source, live, markdown, activation]);

  return <div className="jp-Postdoc-Block" ref={host} />;
});
