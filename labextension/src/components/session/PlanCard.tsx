/** The plan, with what is done and what is now. */
import React, { useEffect, useState } from 'react';

import type { PlanItem } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { Disclosure } from '../ui';

const SIGNS: Record<string, string> = { pending: '☐', active: '▣', done: '☑', failed: '✗', skipped: '–' };
const LONG = 10;

export function PlanCard({ plan, session }: { plan: readonly PlanItem[]; session: string }): JSX.Element {
  const trans = useTrans();
  const { memory } = usePlatform();
  const key = `plan-open:${session}`;
  const [open, setOpen] = useState<boolean | null>(null);
  useEffect(() => {
    let alive = true;
    void memory.get(key).then(value => alive && typeof value === 'boolean' && setOpen(value));
    return () => {
      alive = false;
    };
  }, [memory, key]);
  const words: Record<string, string> = {
    pending: trans.__('to do'),
    active: trans.__('now'),
    done: trans.__('done'),
    failed: trans.__('failed'),
    skipped: trans.__('left out')
  };
  const done = plan.filter(item => item.state === 'done' || item.state === 'skipped').length;
  const now = plan.find(item => item.state === 'active');
  return (
    <section className="jp-Postdoc-Plan" aria-label={trans.__('Plan')}>
      <Disclosure
        open={open ?? (plan.length <= LONG && done < plan.length)}
        onToggle={value => {
          setOpen(value);
          void memory.set(key, value);
        }}
        summary={
          <span className="jp-Postdoc-Plan-summary">
            <strong>{trans.__('%1 of %2', done, plan.length)}</strong>
            {now ? ` · ${now.text}` : done === plan.length ? ` · ${trans.__('all done')}` : ''}
          </span>
        }
      >
        <ol>
          {plan.map((item, index) => {
            const state = item.state ?? 'pending';
            return (
              <li
                key={index}
                className={`jp-mod-${state}`}
                aria-current={state === 'active' ? 'step' : undefined}
              >
                <span aria-hidden="true">{SIGNS[state] ?? '☐'}</span>
                <span>
                  {item.text}
                  <span className="jp-Postdoc-hidden">{` (${words[state] ?? state})`}</span>
                </span>
              </li>
            );
          })}
        </ol>
      </Disclosure>
    </section>
  );
}
