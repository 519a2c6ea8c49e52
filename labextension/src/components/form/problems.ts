/** Where a refusal of the server belongs in the form. */
import { RequestFailed } from '../../client';
import type { Problem } from '../../model';
import type { Trans } from '../../platform';
import type { FieldSpec } from './schema';

export interface Placed {
  /** A field of the form, or null: it is shown above it. */
  readonly field: string | null;
  readonly problem: Problem;
  /** A repository name that would do instead. */
  readonly proposal: string | null;
}

/** What a command rejected with, as a problem a person can read. */
export function problemFrom(reason: unknown, trans: Trans): Problem {
  if (reason instanceof RequestFailed) {
    return reason.problem;
  }
  return {
    code: 'internal',
    error: reason instanceof Error ? reason.message : String(reason),
    next: trans.__('Try again.'),
    retryable: true
  };
}

/**
 * The field that a problem speaks of. A server that names it (`field`, e.g. "params.data") is believed; else its
 * sentence quotes the parameter or the value, which is enough to find it.
 */
export function place(problem: Problem, fields: readonly FieldSpec[]): Placed {
  const details = detailsOf(problem);
  const proposal = typeof details.proposal === 'string' && details.proposal !== '' ? details.proposal : null;
  const field = typeof details.field === 'string' ? details.field : guess(problem, fields, proposal);
  return { field: field !== null && known(field, fields) ? field : null, problem, proposal };
}

/** The fields of the server's answer beyond the sentence. */
function detailsOf(problem: Problem): Record<string, unknown> {
  const { details } = problem as Problem & { details?: unknown };
  const inner = details !== null && typeof details === 'object' ? (details as Record<string, unknown>) : {};
  return { ...(problem as unknown as Record<string, unknown>), ...inner };
}

const FIXED = ['topic', 'template', 'model', 'persona', 'where', 'repo', 'usd', 'minutes', 'turns'];
const COMMAND_FIELDS: Readonly<Record<string, string>> = {
  topic: 'topic',
  template: 'template',
  repo_name: 'repo',
  repository: 'where',
  model: 'model',
  provider: 'model',
  persona: 'persona',
  'budget.usd': 'usd',
  'budget.minutes': 'minutes',
  'budget.turns': 'turns'
};

function known(field: string, fields: readonly FieldSpec[]): boolean {
  return FIXED.includes(field) || fields.some(one => field === `params.${one.name}`);
}

function guess(problem: Problem, fields: readonly FieldSpec[], proposal: string | null): string | null {
  const { code, error } = problem;
  const parameter = /[Pp]arameter `([^`]+)`/.exec(error)?.[1];
  if (parameter !== undefined) {
    return `params.${parameter}`;
  }
  const command = /The field `([^`]+)`/.exec(error)?.[1];
  if (command !== undefined) {
    return COMMAND_FIELDS[command] ?? null;
  }
  if (/\bregistered repository\b/.test(error)) {
    return 'where';
  }
  if (proposal !== null || code === 'github_conflict') {
    return 'repo';
  }
  if (code === 'no_model' || /^The model\b|\bno model\b/i.test(error)) {
    return 'model';
  }
  if (/\bpersona\b/i.test(error)) {
    return 'persona';
  }
  if (/\bresearch template named\b/.test(error)) {
    return 'template';
  }
  if (/\btopic\b/i.test(error)) {
    return 'topic';
  }
  const data = fields.find(field => field.control === 'dataset');
  if (data && /\bdata file\b|\b(CSV|Parquet|Excel)\b/i.test(error)) {
    return `params.${data.name}`;
  }
  return null;
}
