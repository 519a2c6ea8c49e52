import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import axe from 'axe-core';

import widget from '..';
import { createCard } from '../card';
import type { Status } from '../text';
import { figures, hrefOf, verdictText } from '../text';

const NOW = 1_790_000_000;

function status(change: Partial<Status> = {}): Status {
  return {
    chat: 'c_1',
    title: 'Does momentum pay?',
    state: 'running',
    reason: null,
    line: '',
    progress: null,
    plan: [],
    text: '',
    questions: [],
    cost: null,
    tokens: 0,
    began: NOW - 65,
    ended: null,
    result: null,
    error: null,
    links: [],
    problem: null,
    live: true,
    updated: NOW,
    ...change
  };
}

const RESULT = {
  success: true,
  summary: 'It pays.',
  verdict: {
    claim: 'Momentum pays.',
    supported: true,
    estimate: 0.08123,
    ci_low: 0.05,
    ci_high: 0.11,
    unit: '% a year'
  },
  provider: null
};

function card(shown: Status, now: number): HTMLElement {
  const made = createCard(null);
  made.update(shown, now);
  return made.element;
}

/** The text of what is there: states, lines, figures. */
const text = (made: Element, name: string) =>
  made.querySelector(`.postdoc-${name}`)?.textContent?.trim() ?? null;

afterEach(() => document.body.replaceChildren());

describe('the card', () => {
  it.each([
    ['queued', null, '◷ Queued'],
    ['starting', null, '◌ Preparing workspace…'],
    ['running', null, '◌ Running'],
    ['waiting', null, '? Needs your answer'],
    ['paused', null, '? Needs your answer'],
    ['stopping', null, '◌ Stopping after the current step…'],
    ['finished', 'end_turn', '✓ Finished'],
    ['finished', 'idle', '✓ Ready'],
    ['stopped', 'user', '■ Stopped by you'],
    ['stopped', 'budget', '■ Stopped'],
    ['error', null, '✗ Failed'],
    ['interrupted', null, '! Server restarted during this run'],
    ['unknown', null, '! Unknown state'],
    ['constructor', null, '! Unknown state']
  ])('says of %s (%s): %s', async (state, reason, shown) => {
    const made = card(status({ state, reason }), NOW);
    document.body.append(made);
    expect(text(made, 'state')).toBe(shown);
    expect(made.getAttribute('aria-label')).toBe('Session “Does momentum pay?”');
    const { violations } = await axe.run(document.body, {
      rules: { 'color-contrast': { enabled: false }, region: { enabled: false } }
    });
    expect(violations.map(one => one.id)).toEqual([]);
  });

  it('shows what is done now: line, progress, plan', () => {
    const plan = [
      { text: 'Load', state: 'done' },
      { text: 'Test', state: 'active' },
      { text: 'Tell', state: 'pending' }
    ];
    const made = card(status({ line: 'Running cell 4 of 9', progress: 0.4, plan }), NOW);
    expect(text(made, 'line')).toBe('Running cell 4 of 9');
    expect(made.querySelector('progress')?.value).toBe(0.4);
    expect([...made.querySelectorAll('li')].map(one => one.textContent)).toEqual([
      '☑ Load',
      '▣ Test',
      '☐ Tell'
    ]);
    expect([...made.querySelectorAll('li [role=img]')].map(one => one.getAttribute('aria-label'))).toEqual([
      'done',
      'now',
      'to do'
    ]);
    expect(made.querySelector('[aria-current=step]')?.textContent).toBe('▣ Test');
  });

  it('has no bar when nothing moves', () => {
    expect(card(status({ progress: 0.4, live: false }), NOW).querySelector('progress')).toBeNull();
  });

  it('says what is asked, and where to answer', () => {
    const made = card(status({ state: 'waiting', questions: ['Which colour?', 'May I?'] }), NOW);
    const asked = [...made.querySelectorAll('.postdoc-question')].map(one => one.textContent);
    expect(asked).toHaveLength(2);
    expect(asked[0]).toContain('Which colour?');
    expect(asked[0]).toContain('Research panel');
  });

  it('says what came of it', () => {
    const made = card(status({ state: 'finished', live: false, result: RESULT, text: 'older words' }), NOW);
    expect(text(made, 'verdict')).toBe(
      'Supported: Momentum pays. Estimate 0.08123 % a year (95 % interval 0.05 to 0.11).'
    );
    expect(text(made, 'text')).toBe('It pays.');
    expect(made.textContent).not.toContain('older words');
  });

  it('says what went wrong, unless it went well after all', () => {
    const error = { error: 'The data are gone.', next: 'Put them back.' };
    expect(text(card(status({ state: 'error', error, live: false }), NOW), 'problem')).toBe(
      'The data are gone. Put them back.'
    );
    expect(text(card(status({ state: 'finished', error, result: RESULT }), NOW), 'problem')).toBeNull();
  });

  it('says that it is cut off', () => {
    const problem = { error: 'There is no answer.', next: 'Trying again.' };
    const made = card(status({ problem, live: false }), NOW);
    expect(made.querySelector('[role=alert]')?.textContent).toBe('There is no answer. Trying again.');
    expect(text(card(status({ state: 'unknown', problem }), NOW), 'state')).toBe('! Not followed');
  });

  it('keeps hostile words text', () => {
    const evil = '<img src=x onerror="alert(1)"><a href="javascript:alert(1)">x</a>';
    const made = card(
      status({
        title: evil,
        line: evil,
        text: evil,
        state: 'x" onclick="alert(1)',
        plan: [{ text: evil, state: 'y" style="color:red' }],
        questions: [evil],
        error: { error: evil, next: evil },
        problem: { error: evil, next: evil },
        result: {
          ...RESULT,
          success: false,
          summary: evil,
          provider: evil,
          verdict: { claim: evil, unit: evil }
        }
      }),
      NOW
    );
    expect(made.querySelector('img, a, script')).toBeNull();
    expect(made.textContent).toContain(evil);
    for (const node of [made, ...made.querySelectorAll('*')]) {
      const names = node.getAttributeNames();
      expect(names.filter(name => name.startsWith('on') || name === 'href' || name === 'style')).toEqual([]);
      expect(node.className).toMatch(/^[\w -]*$/);
    }
  });
});

describe('the links', () => {
  const link = {
    text: 'Open the session',
    url: 'http://127.0.0.1:8888/user/ana/postdoc/s/c_1',
    path: '/user/ana/postdoc/s/c_1'
  };
  const local = { protocol: 'http:', hostname: 'localhost' };
  const hub = { protocol: 'https:', hostname: 'hub.example.org' };

  it('go by the way that the page came', () => {
    expect(hrefOf(link, hub, '/user/ana/')).toBe(link.path);
    expect(hrefOf(link, local, null)).toBe(link.url);
    expect(hrefOf(link, { protocol: 'file:', hostname: '' }, null)).toBe(link.url);
  });

  it('are not shown where they lead nowhere', () => {
    expect(hrefOf(link, hub, null)).toBeNull();
    expect(hrefOf(link, hub, '/user/bob/')).toBeNull();
    expect(hrefOf({ text: 'x', url: 'https://example.org/a' }, hub, null)).toBe('https://example.org/a');
  });

  it.each(['javascript:alert(1)', 'data:text/html,x', '/relative', 'vbscript:x', ''])('never %s', url => {
    expect(hrefOf({ text: 'x', url }, local, '/')).toBeNull();
    expect(card(status({ links: [{ text: 'x', url }] }), NOW).querySelector('a')).toBeNull();
  });

  it('open elsewhere', () => {
    const anchor = card(
      status({ links: [{ text: 'Repository', url: 'https://example.org/r' }] }),
      NOW
    ).querySelector('a');
    expect(anchor?.textContent).toBe('Repository');
    expect([anchor?.target, anchor?.rel]).toEqual(['_blank', 'noopener noreferrer']);
  });
});

describe('the verdict', () => {
  it('is one sentence, as much as is known', () => {
    expect(verdictText({})).toBe('');
    expect(verdictText({ claim: 'A.', supported: false })).toBe('Not supported: A.');
    expect(verdictText({ claim: 'A.', supported: null })).toBe('Undecided: A.');
    expect(verdictText({ claim: 'A.', supported: true, estimate: 1.23456 })).toBe(
      'Supported: A. Estimate 1.235.'
    );
    expect(verdictText({ claim: 'A.', supported: 'true' })).toBe('Undecided: A.');
  });
});

describe('the figures', () => {
  it('count on while it is at work', () => {
    expect(figures(status(), NOW)).toBe('1:05');
    expect(figures(status(), NOW + 3)).toBe('1:08');
    expect(figures(status({ began: NOW - 3700 }), NOW)).toBe('1:01:40');
    expect(figures(status({ began: null }), NOW)).toBe('');
  });

  it('stand still when it rests, and say since when', () => {
    const said = figures(
      status({ live: false, state: 'finished', ended: NOW - 5, tokens: 12_345, cost: 0.839 }),
      NOW + 99
    );
    expect(said).toMatch(/^1:00 · 12,345 tokens · \$0\.84 · as of /);
    expect(figures(status({ cost: 0.0042 }), NOW)).toBe('1:05 · $0.0042');
    expect(figures(status({ cost: 0 }), NOW)).toBe('1:05 · $0.00');
  });

  it('say so when no news came for long', () => {
    expect(figures(status(), NOW + 44)).not.toContain('as of');
    expect(figures(status(), NOW + 46)).toContain('as of');
  });

  it('say when no language model took part', () => {
    expect(figures(status({ result: { ...RESULT, provider: 'template' } }), NOW)).toContain(
      'no language model'
    );
  });
});

describe('the widget', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    vi.setSystemTime(NOW * 1000);
  });
  afterEach(() => vi.useRealTimers());

  function kernel(first: Status) {
    let now = first;
    const heard = new Set<() => void>();
    return {
      model: {
        get: () => now as Status | undefined,
        on: (_: string, listener: () => void) => void heard.add(listener),
        off: (_: string, listener: () => void) => void heard.delete(listener)
      },
      heard,
      say: (next: Status) => {
        now = next;
        heard.forEach(listener => listener());
      }
    };
  }

  it('draws news, lets the clock go on, and stops', () => {
    const { model, heard, say } = kernel(status());
    const el = document.body.appendChild(document.createElement('div'));
    const leave = widget.render({ model, el });
    expect(text(el, 'figures')).toBe('1:05');
    vi.advanceTimersByTime(2000);
    expect(text(el, 'figures')).toBe('1:07');
    say(status({ line: 'Running cell 5 of 9' }));
    expect(text(el, 'line')).toBe('Running cell 5 of 9');
    leave();
    expect(heard.size).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('leaves what has not changed where it is, so that a screen reader hears news only', () => {
    const { model, say } = kernel(status({ line: 'Running cell 5 of 9', text: 'a' }));
    const el = document.body.appendChild(document.createElement('div'));
    widget.render({ model, el });
    const before = el.querySelector('.postdoc-line');
    say(status({ line: 'Running cell 5 of 9', text: 'a b' }));
    expect(text(el, 'text')).toBe('a b');
    expect(el.querySelector('.postdoc-line')).toBe(before);
    say(status({ line: 'Running cell 6 of 9', text: 'a b' }));
    expect(text(el, 'line')).toBe('Running cell 6 of 9');
  });

  it('waits for the first status', () => {
    const { model, say } = kernel(undefined as unknown as Status);
    const el = document.createElement('div');
    widget.render({ model, el });
    vi.advanceTimersByTime(1000);
    expect(el.childElementCount).toBe(0);
    say(status());
    expect(text(el, 'state')).toBe('◌ Running');
  });
});
