import { render, screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import React from 'react';
import { describe, expect, it, vi } from 'vitest';

import { Button, Disclosure, Menu, Progress, stateText, statusOf } from '../ui';

const items = (chosen: (label: string) => void) => [
  { label: 'Open', onSelect: () => chosen('Open') },
  'separator' as const,
  { label: 'Rename', onSelect: () => chosen('Rename'), disabled: true },
  { label: 'Delete', onSelect: () => chosen('Delete'), dangerous: true }
];

describe('Menu', () => {
  it('is worked with the keyboard alone, and gives the focus back', async () => {
    const chosen = vi.fn();
    const user = userEvent.setup();
    render(<Menu label="More" items={items(chosen)} />);
    const button = screen.getByRole('button', { name: 'More' });
    button.focus();
    await user.keyboard('{ArrowDown}');
    expect(document.activeElement?.textContent).toBe('Open');
    await user.keyboard('{ArrowDown}'); // over the separator and what is disabled
    expect(document.activeElement?.textContent).toBe('Delete');
    await user.keyboard('{ArrowDown}o');
    expect(document.activeElement?.textContent).toBe('Open');
    await user.keyboard('{Escape}');
    expect(screen.queryByRole('menu')).toBeNull();
    expect(document.activeElement).toBe(button);
    await user.keyboard('{Enter}d{Enter}');
    expect(chosen).toHaveBeenCalledExactlyOnceWith('Delete');
    expect(screen.queryByRole('menu')).toBeNull();
  });

  it('closes when something else is clicked, and does nothing for a disabled item', async () => {
    const chosen = vi.fn();
    const user = userEvent.setup();
    render(
      <div>
        <Menu label="More" items={items(chosen)} />
        <p>elsewhere</p>
      </div>
    );
    await user.click(screen.getByRole('button'));
    await user.click(screen.getByText('Rename'));
    expect(chosen).not.toHaveBeenCalled();
    expect(screen.getByRole('menu')).toBeTruthy();
    await user.click(screen.getByText('elsewhere'));
    expect(screen.queryByRole('menu')).toBeNull();
  });
});

describe('small parts', () => {
  it('a busy button takes no click and keeps the focus', async () => {
    const click = vi.fn();
    render(
      <Button busy onClick={click}>
        Start
      </Button>
    );
    const button = screen.getByRole('button', { name: 'Start' });
    await userEvent.click(button);
    expect(click).not.toHaveBeenCalled();
    expect(document.activeElement).toBe(button);
    expect(button.getAttribute('aria-busy')).toBe('true');
  });

  it('a disclosure makes its body only while it is open', async () => {
    const made = vi.fn(() => <b>inside</b>);
    const Inside = made as unknown as React.FC;
    render(
      <Disclosure summary="3 of 7">
        <Inside />
      </Disclosure>
    );
    expect(made).not.toHaveBeenCalled();
    await userEvent.click(screen.getByRole('button', { name: '3 of 7' }));
    expect(screen.getByText('inside')).toBeTruthy();
    await userEvent.click(screen.getByRole('button', { name: '3 of 7' }));
    expect(screen.queryByText('inside')).toBeNull();
  });

  it('progress stays between nothing and all', () => {
    render(<Progress value={1.7} label="Cost" />);
    expect(screen.getByRole('progressbar', { name: 'Cost' }).getAttribute('aria-valuenow')).toBe('100');
  });

  it('a state of a newer server has a text too', () => {
    const trans = { __: (text: string) => text, _n: (text: string) => text };
    expect(stateText(trans, statusOf('dreaming'))).toBe('Unknown state');
    expect(stateText(trans, statusOf('stopped'), 'user')).toBe('Stopped by you');
  });
});
