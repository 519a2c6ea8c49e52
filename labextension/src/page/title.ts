/** What the browser's tab says. */
import { badge } from '../components/sessions/order';
import { firstLine } from '../format';
import type { State } from '../model';
import type { Route } from '../navigation';
import type { Trans } from '../platform';

const LONGEST = 80;

/** The title of the document: how many sessions need the user, and which view is shown. */
export function titleOf(route: Route, state: State, trans: Trans): string {
  const needs = badge(state);
  return `${needs > 0 ? `(${needs}) ` : ''}${nameOf(route, state, trans)} · Postdoc`;
}

function nameOf(route: Route, state: State, trans: Trans): string {
  switch (route.view) {
    case 'session': {
      const title = state.sessions?.[route.id]?.title || state.views[route.id]?.title;
      return title ? firstLine(title, LONGEST) : trans.__('Session');
    }
    case 'notebook': {
      const title = state.sessions?.[route.id]?.title || state.views[route.id]?.title;
      return title ? trans.__('Notebook: %1', firstLine(title, LONGEST)) : trans.__('Notebook');
    }
    case 'new':
      return trans.__('New research');
    case 'rooms':
      return trans.__('Rooms');
    case 'sessions':
      return trans.__('Research');
  }
}
