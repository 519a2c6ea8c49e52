/** What is shown of a publication, in words and signs. */
import type { PublishedRepository, PublishStep, PullRequest } from '../../protocol';
import type { PublicationItem } from '../../model';
import type { Trans } from '../../platform';
import type { IconName } from '../ui';

/** A sign and its words; `tone` colours the sign only. */
export interface Said {
  readonly icon: IconName;
  readonly text: string;
  readonly tone: 'good' | 'bad' | 'busy' | 'plain';
}

export function pullSaid(trans: Trans, pull: Pick<PullRequest, 'number' | 'state' | 'draft'>): Said {
  switch (pull.state) {
    case 'merged':
      return { icon: 'merge', text: trans.__('merged'), tone: 'good' };
    case 'closed':
      return { icon: 'close', text: trans.__('closed without merging'), tone: 'plain' };
    default:
      return {
        icon: 'pull',
        text: pull.draft ? trans.__('open as a draft') : trans.__('open'),
        tone: 'plain'
      };
  }
}

export function checksSaid(trans: Trans, checks: PullRequest['checks']): Said {
  switch (checks.state) {
    case 'passed':
      return {
        icon: 'check',
        text: trans._n('%1 check passed', 'All %1 checks passed', checks.total),
        tone: 'good'
      };
    case 'failed':
      return {
        icon: 'error',
        text: trans._n('%1 of %2 checks failed', '%1 of %2 checks failed', checks.failed, checks.total),
        tone: 'bad'
      };
    case 'pending':
      return {
        icon: 'clock',
        text: trans.__('Checks are running: %1 of %2 done', checks.passed + checks.failed, checks.total),
        tone: 'busy'
      };
    default:
      return { icon: 'dash', text: trans.__('No checks'), tone: 'plain' };
  }
}

export function reviewSaid(trans: Trans, review: PullRequest['review']): Said {
  switch (review.state) {
    case 'approved':
      return {
        icon: 'check',
        text: trans.__('Approved by %1', names(trans, review.approvedBy)),
        tone: 'good'
      };
    case 'changes_requested':
      return {
        icon: 'warn',
        text: trans.__('%1 asked for changes', names(trans, review.changesRequestedBy)),
        tone: 'bad'
      };
    case 'commented':
      return { icon: 'chat', text: trans.__('Reviewed, with comments'), tone: 'plain' };
    default:
      return { icon: 'dash', text: trans.__('No review yet'), tone: 'plain' };
  }
}

function names(trans: Trans, all: readonly string[]): string {
  return all.length > 0 ? all.slice(0, 4).join(', ') + (all.length > 4 ? ' …' : '') : trans.__('somebody');
}

export function stepSaid(trans: Trans, step: PublishStep): Said {
  const [icon, word, tone] = (
    {
      pending: ['dot', trans.__('to do'), 'plain'],
      active: ['spinner', trans.__('now'), 'busy'],
      done: ['check', trans.__('done'), 'good'],
      failed: ['error', trans.__('failed'), 'bad'],
      skipped: ['dash', trans.__('left out'), 'plain']
    } as const
  )[step.state] ?? ['dot', '', 'plain'];
  return { icon, text: word, tone };
}

/** A step that says nothing of itself. */
export function stepName(trans: Trans, step: PublishStep): string {
  const all: Record<string, string> = {
    check: trans.__('Check the connection and the commits'),
    create: trans.__('Make the repository'),
    push: trans.__('Send the commits'),
    topics: trans.__('Set the topic labels'),
    branch: trans.__('Send the branch'),
    pull_request: trans.__('Open a draft pull request')
  };
  return step.text || (all[step.name] ?? step.name);
}

/** The line of the timeline. */
export function newsSaid(trans: Trans, item: PublicationItem): Said {
  const { repository, number } = item;
  const pull = trans.__('Pull request #%1', number ?? '');
  switch (item.what) {
    case 'published':
      return {
        icon: 'publish',
        tone: 'good',
        text:
          number === null
            ? trans.__('Published in %1', repository)
            : trans.__('Published in %1, with draft pull request #%2', repository, number)
      };
    case 'opened':
      return { icon: 'pull', tone: 'plain', text: trans.__('%1 was opened', pull) };
    case 'reopened':
      return { icon: 'pull', tone: 'plain', text: trans.__('%1 was opened again', pull) };
    case 'merged':
      return { icon: 'merge', tone: 'good', text: trans.__('%1 was merged', pull) };
    case 'closed':
      return { icon: 'close', tone: 'plain', text: trans.__('%1 was closed without merging', pull) };
    case 'checks_failed':
      return { icon: 'error', tone: 'bad', text: trans.__('%1: checks failed', pull) };
    case 'checks_passed':
      return { icon: 'check', tone: 'good', text: trans.__('%1: all checks passed', pull) };
    case 'approved':
      return { icon: 'check', tone: 'good', text: trans.__('%1 was approved', pull) };
    case 'changes_requested':
      return { icon: 'warn', tone: 'bad', text: trans.__('%1: a reviewer asked for changes', pull) };
  }
}

export function visibility(trans: Trans, { private: hidden }: Pick<PublishedRepository, 'private'>): string {
  return hidden ? trans.__('private') : trans.__('public');
}
