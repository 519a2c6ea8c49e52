/** The plan, with what is done and what is now. It stays in view while the timeline is scrolled. */
import React, { memo, useEffect, useLayoutEffect, useRef, useState } from 'react';

import type { PlanItem } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { Disclosure } from '../ui';

const SIGNS: Record<string, string> = { pending: '☐', active: '▣', done: '☑', failed: '✗', skipped: '–' };
/** Longer or taller (pixels) than this, it is closed until somebody opens it. */
const LONG = 10;
const TALL = 160;

interface Props {
  plan: readonly PlanItem[];
  session: string;
}

export const PlanCard = memo(function PlanCard({ plan, session }: Props): JSX.Element {
  const trans = useTrans();
  const list = useRef<HTMLOListElement>(null);
  const [tall, setTall] = useState(false);
  const [chosen, choose] = useRemembered(`plan-open:${session}`);
  const done = plan.filter(item => item.state === 'done' || item.state === 'skipped').length;
  const now = plan.findIndex(item => item.state === 'active');
  const open = chosen ?? (plan.length <= LONG && !tall && done < plan.length);

  useLayoutEffect(() => {
    setTall(known => known || (list.current?.scrollHeight ?? 0) > TALL);
  }, [plan, open]);

  // In a list that is scrolled, the step that is done now is in view.
  useLayoutEffect(() => {
    const step = list.current?.children[now];
    if (open && step instanceof HTMLElement && list.current !== null) {
      list.current.scrollTop = step.offsetTop - list.current.offsetTop - list.current.clientHeight / 3;
    }
  }, [now, open]);

  const words: Record<string, string> = {
    pending: trans.__('to do'),
    active: trans.__('now'),
    done: trans.__('done'),
    failed: trans.__('failed'),
    skipped: trans.__('left out')
  };
  const step = now >= 0 ? now + 1 : done;
  const what = plan[now]?.text ?? (done === plan.length ? trans.__('all done') : '');
  return (
    <section className="jp-Postdoc-Plan" aria-label={trans.__('Plan')}>
      <Disclosure
        open={open}
        onToggle={choose}
        summary={
          <span className="jp-Postdoc-Plan-summary" title={open ? undefined : what}>
            {open && <span className="jp-Postdoc-Plan-name">{trans.__('Plan')} · </span>}
            <strong>{trans.__('%1 of %2', step, plan.length)}</strong>
            {!open && what && ` · ${what}`}
          </span>
        }
      >
        <ol ref={list}>
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
});

/** A choice of the user that is there again the next time; null until they have made one. */
function useRemembered(key: string): [boolean | null, (value: boolean) => void] {
  const { memory } = usePlatform();
  const [value, setValue] = useState<boolean | null>(null);
  useEffect(() => {
    let alive = true;
    memory.get(key).then(
      known => alive && typeof known === 'boolean' && setValue(current => current ?? known),
      () => undefined
    );
    return () => {
      alive = false;
    };
  }, [memory, key]);
  const change = (chosen: boolean) => {
    setValue(chosen);
    void memory.set(key, chosen).catch(() => undefined);
  };
  return [value, change];
}
