import { readFileSync } from 'node:fs';

import { describe, expect, it, vi } from 'vitest';

import { LAB_DEFAULTS, LiveSettings, parseSettings } from '../settings';

interface Property {
  default: unknown;
  type: string;
  title?: string;
  description?: string;
}

const schema = JSON.parse(readFileSync('schema/settings.json', 'utf-8')) as {
  properties: Record<string, Property>;
};

describe('settings', () => {
  it('are those of the schema, with its defaults', () => {
    const defaults = Object.fromEntries(
      Object.entries(schema.properties).map(([name, each]) => [name, each.default])
    );
    expect(defaults).toEqual(LAB_DEFAULTS);
    expect(parseSettings(defaults)).toEqual(LAB_DEFAULTS);
    expect(Object.values(schema.properties).every(each => each.title && each.description)).toBe(true);
  });

  it('hold no secret', () => {
    expect(Object.keys(schema.properties).filter(name => /key|token|secret|password/i.test(name))).toEqual(
      []
    );
  });

  it('take what is valid, and the default for everything else', () => {
    const parsed = parseSettings({
      side: 'right',
      maxCostUsd: 0,
      maxMinutes: -5,
      streamFlushMs: 'fast',
      showThinking: 'loud',
      foldToolCalls: false,
      notifyOn: ['error', 'everything'],
      defaultModel: '  claude  ',
      defaultPersona: 7,
      browserNotifications: 'yes'
    });
    expect(parsed).toEqual({
      ...LAB_DEFAULTS,
      side: 'right',
      maxCostUsd: 0,
      foldToolCalls: false,
      notifyOn: ['error'],
      defaultModel: 'claude'
    });
    expect(parseSettings({ notifyOn: [] }).notifyOn).toEqual([]);
  });

  it('tell of changes until nobody listens any more', () => {
    const live = new LiveSettings();
    const listener = vi.fn();
    const stop = live.subscribe(listener);
    const before = live.get();
    live.update({ maxCostUsd: 1 });
    expect(live.get()).not.toBe(before);
    expect(live.get().maxCostUsd).toBe(1);
    expect(live.get()).toBe(live.get());
    stop();
    live.update({});
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
