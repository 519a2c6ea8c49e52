/** The research question of a session, to be asked again. */
import type { Item } from '../../model';
import type { Route } from '../../navigation';
import { recordOf, textIn } from '../../store/parts';

/** The form with what the last question of the session had chosen; null when there was none. */
export function againRoute(items: readonly Item[], key: string): Route | null {
  const asked = items.findLast(item => item.kind === 'user' && item.research !== undefined);
  const research = recordOf(asked?.kind === 'user' ? asked.research : null);
  const topic = textIn(research, 'topic') || (asked?.kind === 'user' ? asked.content : '');
  if (asked === undefined || topic === '') {
    return null;
  }
  const template = textIn(research, 'template');
  return {
    view: 'new',
    topic,
    ...(template ? { template } : {}),
    params: recordOf(research.params),
    key
  };
}
