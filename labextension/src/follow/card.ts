/** The card. Its elements are made once; news change their text, so that a selection and the focus stay where they are. */
import type { Status, Trouble } from './text';
import { figures, hrefOf, isLive, stateOf, verdictText } from './text';

const SIGNS: Readonly<Record<string, readonly [string, string]>> = {
  pending: ['☐', 'to do'],
  active: ['▣', 'now'],
  done: ['☑', 'done'],
  failed: ['✕', 'failed'],
  skipped: ['–', 'skipped']
};

export interface Card {
  readonly element: HTMLElement;
  /** Show a status. `now`: UNIX seconds. */
  update(status: Status, now: number): void;
  /** Only time has gone by. */
  tick(now: number): void;
}

export function createCard(baseUrl: string | null = jupyterBaseUrl()): Card {
  const element = make('section', 'postdoc-follow');
  const head = make('header', 'postdoc-head');
  const title = make('strong', 'postdoc-title');
  const state = make('span', 'postdoc-state');
  // Of what changes, this is worth interrupting somebody for; the line changes several times a second.
  state.setAttribute('role', 'status');
  const sign = make('span', 'postdoc-sign');
  sign.setAttribute('aria-hidden', 'true');
  const word = make('span', 'postdoc-word');
  state.append(sign, ' ', word);
  head.append(title, state);
  const problem = make('p', 'postdoc-problem');
  problem.setAttribute('role', 'alert');
  const line = make('p', 'postdoc-line');
  const bar = document.createElement('progress');
  bar.max = 1;
  bar.setAttribute('aria-label', 'Progress');
  const questions = make('div', 'postdoc-questions');
  const plan = make('ol', 'postdoc-plan');
  plan.setAttribute('aria-label', 'Plan');
  const verdict = make('p', 'postdoc-verdict');
  const supported = make('strong', 'postdoc-supported');
  const about = make('span', 'postdoc-claim');
  verdict.append(supported, about);
  const error = make('p', 'postdoc-problem');
  const text = make('p', 'postdoc-text');
  const links = make('p', 'postdoc-links');
  const small = make('p', 'postdoc-figures');
  const parts = [head, problem, line, bar, questions, plan, verdict, error, text, links, small];

  let shown: Status | null = null;
  const clockOnly = (now: number) => {
    if (shown !== null) {
      say(small, figures(shown, now));
      element.classList.toggle('postdoc-live', isLive(shown, now) && shown.state !== 'waiting');
    }
  };
  return {
    element,
    tick: clockOnly,
    update: (status, now) => {
      shown = status;
      const name = status.title || status.chat;
      const [mark, words] = stateOf(status);
      element.className = `postdoc-follow postdoc-${status.state.replace(/\W/g, '')}`;
      element.setAttribute('aria-label', `Session “${name}”`);
      say(title, name);
      say(sign, mark);
      say(word, words);
      say(problem, sentence(status.problem));
      say(line, status.line);
      bar.hidden = status.progress === null || !status.live;
      bar.value = status.progress ?? 0;
      rows(questions, status.questions, question => {
        const row = make('p', 'postdoc-question');
        row.textContent = `It asks: ${question} Answer in the Research panel or on its page.`;
        return row;
      });
      rows(plan, status.plan, item => {
        const row = make('li', `postdoc-${item.state.replace(/\W/g, '')}`);
        const box = make('span', 'postdoc-sign');
        const [drawn, spoken] = SIGNS[item.state] ?? ['☐', item.state];
        box.textContent = drawn;
        box.setAttribute('role', 'img');
        box.setAttribute('aria-label', spoken);
        if (item.state === 'active') {
          row.setAttribute('aria-current', 'step');
        }
        row.append(box, ' ', item.text);
        return row;
      });
      const result = status.result;
      const [judged, claim] = split(result === null ? '' : verdictText(result.verdict));
      say(supported, judged);
      say(about, claim);
      verdict.hidden = judged === '';
      say(error, result?.success === true ? '' : sentence(status.error));
      say(text, result?.summary || status.text);
      rows(links, status.links ?? [], ({ text: label, ...link }) => {
        const href = hrefOf({ text: label, ...link }, window.location, baseUrl);
        if (href === null) {
          return null;
        }
        const anchor = document.createElement('a');
        anchor.href = href;
        anchor.target = '_blank';
        anchor.rel = 'noopener noreferrer';
        anchor.textContent = label;
        return anchor;
      });
      clockOnly(now);
      arrange(element, parts);
    }
  };
}

/** Takes out what has nothing to say; what stays is not touched. */
function arrange(element: HTMLElement, parts: readonly HTMLElement[]): void {
  let before: Element | null = null;
  for (const part of parts) {
    if (part.hidden) {
      part.remove();
      continue;
    }
    const at: Element | null = before === null ? element.firstElementChild : before.nextElementSibling;
    if (at !== part) {
      element.insertBefore(part, at);
    }
    before = part;
  }
}

function make(tag: string, name: string): HTMLElement {
  const made = document.createElement(tag);
  made.className = name;
  return made;
}

/** Only what has changed is written: a screen reader hears news once. */
function say(element: HTMLElement, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
  element.hidden = text === '';
}

/** "Supported: the claim" in its two parts. */
function split(verdict: string): [string, string] {
  const at = verdict.indexOf(':') + 1;
  return [verdict.slice(0, at), verdict.slice(at)];
}

function sentence(trouble: Trouble | null): string {
  return trouble === null ? '' : `${trouble.error} ${trouble.next}`.trim();
}

/** Made anew only when an item has changed. */
function rows<T>(host: HTMLElement, items: readonly T[], row: (item: T) => HTMLElement | null): void {
  const key = JSON.stringify(items);
  if (host.dataset.key !== key) {
    host.dataset.key = key;
    host.replaceChildren(...items.map(row).filter(made => made !== null));
  }
  host.hidden = host.childElementCount === 0;
}

/** The base URL of the Jupyter server that this page came from; null in marimo and in exported pages. */
function jupyterBaseUrl(): string | null {
  try {
    const data = document.getElementById('jupyter-config-data')?.textContent;
    const config = JSON.parse(data ?? 'null') as { baseUrl?: unknown } | null;
    return typeof config?.baseUrl === 'string' ? config.baseUrl : null;
  } catch {
    return null;
  }
}
