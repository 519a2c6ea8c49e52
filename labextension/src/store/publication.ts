/** Publications: what an event says of one, and what is new in it. */
import type { Publication, PublicationItem } from '../model';
import { plainLine } from '../plain';
import type * as p from '../protocol';

/** Titles and sentences on one line each. A look of the server's own (no `runId`) leaves whose run it was. */
export function publicationOf(frame: p.Publication, known: Publication | null): Publication {
  const { state, forge, repository, branch, pull, problem, ahead, checkedAt } = frame;
  const published = state === 'published';
  return {
    state,
    forge,
    runId: frame.runId ?? known?.runId,
    repository: repository && { ...repository, name: plainLine(repository.name) },
    branch: branch && { ...branch, name: plainLine(branch.name) },
    pull: pull && { ...pull, title: plainLine(pull.title) },
    steps: (frame.steps ?? []).map(step => ({ ...step, text: plainLine(step.text) })),
    notes: (frame.notes ?? []).map(plainLine),
    problem: problem && {
      ...problem,
      error: plainLine(problem.error),
      next: plainLine(problem.next),
      findings: (problem.findings ?? []).map(found => ({
        ...found,
        path: plainLine(found.path),
        text: plainLine(found.text),
        step: plainLine(found.step)
      }))
    },
    ahead: ahead ?? 0,
    checkedAt,
    once: published || known?.once === true,
    told: (published ? pull?.number : undefined) ?? known?.told ?? null
  };
}

type What = PublicationItem['what'];

/**
 * What a person wants to hear of, from one picture to the next. A pull request that is opened while something is being
 * published for the first time is part of that line.
 */
export function newsOf(before: Publication | null, after: Publication): What[] {
  const news: What[] = [];
  if (after.once && before?.once !== true) {
    news.push('published');
  } else if (after.told !== null && before?.told !== after.told) {
    news.push('opened');
  }
  const is = after.pull;
  if (is === undefined) {
    return news;
  }
  const was = before?.pull?.number === is.number ? before.pull : undefined;
  if (is.state !== (was?.state ?? 'open')) {
    news.push(is.state === 'open' ? 'reopened' : is.state);
  }
  if (is.checks.state !== was?.checks.state) {
    if (is.checks.state === 'failed') {
      news.push('checks_failed');
    } else if (is.checks.state === 'passed') {
      news.push('checks_passed');
    }
  }
  if (is.review.state !== was?.review.state) {
    if (is.review.state === 'approved' || is.review.state === 'changes_requested') {
      news.push(is.review.state);
    }
  }
  return news;
}
