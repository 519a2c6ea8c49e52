/** What a failed request says to a person. */
import { RequestFailed } from '../../client';

/** The sentence, and what to do next. */
export function troubleOf(error: unknown): string {
  if (error instanceof RequestFailed) {
    return [error.problem.error, error.problem.next].filter(Boolean).join(' ');
  }
  return error instanceof Error ? error.message : String(error);
}
