/** What a reader can choose on the page, and the dialog for it. JupyterLab has its own settings. */
import type { Settings, Trans } from '../platform';
import { DEFAULT_SETTINGS } from '../platform';
import { openDialog } from './dialogs';
import { keep, recall } from './memory';
import type { Theme } from './theme';
import { applyTheme, themeOf } from './theme';

const KEY = 'settings';
const THINKING = ['collapsed', 'live', 'hidden'] as const;

/** The choices, kept in this browser. */
export class PageSettings {
  private listeners = new Set<() => void>();
  private current: Settings = DEFAULT_SETTINGS;
  private chosen: Theme = 'auto';

  constructor() {
    this.read();
    // Another tab of the same page has chosen something.
    window.addEventListener('storage', () => {
      this.read();
      this.listeners.forEach(listener => listener());
    });
  }

  get = (): Settings => this.current;

  get theme(): Theme {
    return this.chosen;
  }

  onChanged = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };

  set(change: Partial<Settings> & { theme?: Theme }): void {
    const { theme, ...settings } = change;
    this.chosen = theme ?? this.chosen;
    this.current = { ...this.current, ...settings };
    const { sendWithShiftEnter, showThinking, foldToolCalls } = this.current;
    keep(KEY, { theme: this.chosen, sendWithShiftEnter, showThinking, foldToolCalls });
    applyTheme(this.chosen);
    this.listeners.forEach(listener => listener());
  }

  private read(): void {
    const found = recall(KEY);
    const stored = (typeof found === 'object' && found !== null ? found : {}) as Record<string, unknown>;
    this.chosen = themeOf(stored.theme);
    this.current = {
      ...DEFAULT_SETTINGS,
      sendWithShiftEnter: stored.sendWithShiftEnter === true,
      foldToolCalls: stored.foldToolCalls !== false,
      showThinking: THINKING.find(one => one === stored.showThinking) ?? DEFAULT_SETTINGS.showThinking
    };
    applyTheme(this.chosen);
  }
}

/** The dialog. What is chosen holds at once. */
export function showSettings(settings: PageSettings, trans: Trans): void {
  const dialog = openDialog(trans.__('Settings'));
  const select = <T extends string>(
    label: string,
    choices: readonly (readonly [T, string])[],
    value: T,
    onChange: (value: T) => void
  ) => {
    const field = document.createElement('label');
    const text = document.createElement('span');
    text.textContent = label;
    const made = document.createElement('select');
    made.className = 'jp-Postdoc-Select';
    for (const [name, shown] of choices) {
      made.add(new Option(shown, name, name === value, name === value));
    }
    made.addEventListener('change', () => {
      const chosen = choices[made.selectedIndex];
      if (chosen !== undefined) {
        onChange(chosen[0]);
      }
    });
    field.append(text, made);
    dialog.body.append(field);
  };
  const now = settings.get();
  select<Theme>(
    trans.__('Appearance'),
    [
      ['auto', trans.__('As the system')],
      ['light', trans.__('Light')],
      ['dark', trans.__('Dark')]
    ],
    settings.theme,
    theme => settings.set({ theme })
  );
  select(
    trans.__('Send a message with'),
    [
      ['enter', trans.__('Enter')],
      ['shift', trans.__('Shift+Enter')]
    ],
    now.sendWithShiftEnter ? 'shift' : 'enter',
    key => settings.set({ sendWithShiftEnter: key === 'shift' })
  );
  select(
    trans.__('Thinking of the agent'),
    [
      ['collapsed', trans.__('Closed')],
      ['live', trans.__('Last line while it thinks')],
      ['hidden', trans.__('Not shown')]
    ],
    now.showThinking,
    showThinking => settings.set({ showThinking })
  );
  select(
    trans.__('Steps that succeeded'),
    [
      ['fold', trans.__('In one line')],
      ['all', trans.__('One by one')]
    ],
    now.foldToolCalls ? 'fold' : 'all',
    how => settings.set({ foldToolCalls: how === 'fold' })
  );
  dialog.button(trans.__('Close'), 'accept');
  dialog.show();
}
