/** Text as markdown, block by block, each rendered once. */
import React, {
  createContext,
  memo,
  useContext,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState
} from 'react';

import { BlockSplitter } from '../../markdown/blocks';
import type { Activation, Markdown, Platform } from '../../platform';
import { usePlatform } from '../../platform';
import { withCodeButtons } from './codeButtons';
import { whenNear } from './near';
import { inProject } from './paths';

/** The folder of the session's project, below the server's root: what paths in its texts are relative to. */
export const ProjectContext = createContext<{ readonly current: string | null }>({ current: null });

interface Props {
  source: string;
  /** More is coming: the last block is shown as it grows. */
  streaming?: boolean;
}

/** What clicks in shown text do on this platform. */
export function useActivation(): Activation {
  const platform = usePlatform();
  const project = useContext(ProjectContext);
  return useMemo(() => activationOf(platform, project), [platform, project]);
}

function activationOf(platform: Platform, project: { readonly current: string | null }): Activation {
  const { openFile, trans } = platform;
  return {
    loadImage: host => trans.__('Load image from %1', host),
    openPath:
      openFile === undefined
        ? undefined
        : path => {
            const whole = inProject(path, project.current);
            if (whole !== null) {
              openFile.call(platform, whole);
            }
          }
  };
}

/**
 * Sanitised markdown. Long texts cost what their last block costs. A text that is far from the screen is there as it was
 * written, and not even taken apart: so a long session opens at once.
 */
export const MarkdownText = memo(function MarkdownText({ source, streaming = false }: Props) {
  const [wanted, setWanted] = useState(streaming);
  const place = useRef<HTMLDivElement>(null);
  const shown = wanted || streaming;
  useEffect(() => {
    if (shown || place.current === null) {
      setWanted(true); // and so it stays when the stream has ended
      return undefined;
    }
    return whenNear(place.current, () => setWanted(true));
  }, [shown]);
  return shown ? (
    <Blocks source={source} streaming={streaming} />
  ) : (
    <div className="jp-Postdoc-Markdown jp-mod-plain" ref={place}>
      {source}
    </div>
  );
});

function Blocks({ source, streaming }: Required<Props>): JSX.Element {
  const splitter = useRef<BlockSplitter | null>(null);
  splitter.current ??= new BlockSplitter();
  const blocks = splitter.current.split(source);
  return (
    <div className="jp-Postdoc-Markdown">
      {blocks.map((block, index) => (
        <Block key={index} source={block} live={streaming && index === blocks.length - 1} />
      ))}
    </div>
  );
}

/** Text that is not rendered yet: its line ends count. */
const PLAIN = 'jp-mod-plain';

/** A rendering of this many milliseconds may follow the next; of one that takes longer, one part in `SHARE` is work. */
const CHEAP_MS = 4;
const SHARE = 8;
const LATEST_MS = 1000;

/** Shows one block in its host: one rendering at a time, and then the newest text. */
class BlockView {
  private shown: { dispose(): void } | null = null;
  private wanted: string | null = null;
  private busy = false;
  private disposed = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly markdown: Markdown,
    private readonly activation: Activation,
    private readonly finish: (host: HTMLElement) => void
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
      const from = performance.now();
      try {
        const made = this.markdown.render(this.host, text, this.activation);
        this.shown = made;
        await made.ready;
        this.host.classList.remove(PLAIN);
        if (!this.disposed) {
          this.finish(this.host);
        }
      } catch {
        this.host.textContent = text; // a renderer that fails must not hide what was said
      }
      if (before !== this.shown) {
        before?.dispose();
      }
      const cost = performance.now() - from;
      if (cost > CHEAP_MS && !this.disposed) {
        // A block that is dear (long code, a diagram) is brought up to date less often, and costs no more for that.
        await new Promise(done => window.setTimeout(done, Math.min(LATEST_MS, cost * SHARE)));
      }
    }
    this.busy = false;
  }
}

const Block = memo(function Block({ source, live }: { source: string; live: boolean }) {
  const platform = usePlatform();
  const { markdown } = platform;
  const activation = useActivation();
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<BlockView | null>(null);

  // Before the screen is painted: a block is never seen empty.
  useLayoutEffect(() => {
    const node = host.current;
    if (node === null) {
      return undefined;
    }
    const made = new BlockView(node, markdown, activation, shown => withCodeButtons(shown, platform));
    view.current = made;
    return () => {
      view.current = null;
      made.dispose();
    };
  }, [markdown, activation, platform]);

  useLayoutEffect(() => {
    const node = host.current;
    if (node === null) {
      return undefined;
    }
    const show = () => view.current?.update(source);
    if (live || node.childElementCount > 0) {
      show();
      return undefined;
    }
    node.classList.add(PLAIN);
    node.textContent = source;
    return whenNear(node, show);
  }, [source, live, markdown, activation, platform]);

  return <div className="jp-Postdoc-Block" ref={host} />;
});
