/** Publications as the server tells them, for the tests of what shows them. */
import type { Comment, GitHubStatus } from '../../../client';
import type { Publication, PullRequest } from '../../../protocol';

const WEB = 'https://github.com/ana/reversal';

export const PULL: PullRequest = {
  number: 7,
  url: `${WEB}/pull/7`,
  title: 'Short-term reversal',
  state: 'open',
  draft: true,
  base: 'main',
  head: 'agent/reversal/0a1b2c3d',
  checks: { state: 'pending', total: 2, passed: 1, failed: 0, url: `${WEB}/pull/7/checks` },
  review: { state: 'none', approvedBy: [], changesRequestedBy: [] },
  comments: 0,
  mergeable: true
};

const STEPS = ['check', 'create', 'push', 'topics', 'branch', 'pull_request'] as const;

/** The first `done` steps are done, the next one is in this state. */
export function steps(done: number, now: 'active' | 'failed' | 'pending' = 'active'): Publication['steps'] {
  return STEPS.map((name, index) => ({
    name,
    state: index < done ? 'done' : index === done ? now : 'pending',
    text: ''
  }));
}

export const PLACED = {
  repository: { name: 'ana/reversal', url: WEB, private: true, defaultBranch: 'main' },
  branch: {
    name: 'agent/reversal/0a1b2c3d',
    url: `${WEB}/tree/agent/reversal/0a1b2c3d`,
    commit: 'c0ffee0c0ffee',
    compareUrl: `${WEB}/compare/main...agent/reversal/0a1b2c3d`
  }
};

/** A `publication` event; published with a pull request when nothing else is said. */
export function publication(change: Partial<Publication> = {}): Publication {
  return {
    type: 'publication',
    runId: 'p1',
    state: 'published',
    forge: 'github',
    ...PLACED,
    pull: PULL,
    steps: steps(6),
    notes: [],
    ahead: 0,
    checkedAt: new Date(Date.now() - 120_000).toISOString(),
    ...change
  };
}

export function failed(problem: Partial<NonNullable<Publication['problem']>>, change = {}): Publication {
  return publication({
    state: 'failed',
    repository: undefined,
    branch: undefined,
    pull: undefined,
    checkedAt: undefined,
    steps: steps(1, 'failed'),
    problem: {
      code: 'github_conflict',
      error: 'ana/reversal exists. Use it, or create reversal-2? Nothing was changed there.',
      next: '',
      retryable: false,
      actions: [],
      proposal: '',
      findings: [],
      url: '',
      retryAt: '',
      ...problem
    },
    ...change
  });
}

export const RIGHTS = [
  { name: 'Contents: read and write', ok: null, needed: 'to push the study’s branch' },
  { name: 'Pull requests: read and write', ok: null, needed: 'to open the draft pull request' },
  { name: 'Administration: read and write', ok: null, needed: 'to make the repository of a study' }
];

export const NOT_CONNECTED: GitHubStatus = {
  connected: false,
  host: 'github.com',
  apiUrl: 'https://api.github.com',
  tokenUrl: 'https://github.com/settings/personal-access-tokens/new',
  account: null,
  source: null,
  mine: false,
  choices: { file: true, keyring: false, gh: { available: false, login: null } },
  owners: [],
  rights: RIGHTS,
  missing: [],
  problem: null,
  rate: null,
  defaults: { owner: '', private: true, publish: 'end', history: 'full' }
};

export const CONNECTED: GitHubStatus = {
  ...NOT_CONNECTED,
  connected: true,
  account: { login: 'ana', name: 'Ana Lind', kind: 'user', url: 'https://github.com/ana' },
  source: 'stored',
  mine: true,
  owners: [
    { login: 'ana', kind: 'user', mayCreate: true },
    { login: 'owl-lab', kind: 'organization', mayCreate: false }
  ],
  rights: [
    { name: 'repo', ok: true, needed: 'to make private repositories and push to them' },
    { name: 'workflow', ok: false, needed: 'to push the workflow that executes the notebook again' }
  ],
  missing: [
    "The token lacks 'workflow': studies are pushed without CI files. Add the scope to include them."
  ],
  defaults: { owner: 'ana', private: true, publish: 'end', history: 'full' }
};

export const COMMENTS: Comment[] = [
  {
    id: 'i1',
    author: 'boris',
    body: 'Why 20 bps? <img src=x onerror=alert(1)>\n\nPlease try 5 and 50 too.',
    url: `${WEB}/pull/7#issuecomment-1`,
    at: new Date(Date.now() - 3_600_000).toISOString(),
    path: null,
    line: null,
    review: null,
    bot: false,
    handed: false
  },
  {
    id: 'r2',
    author: 'carla',
    body: 'This drops delisted shares: survivorship bias.',
    url: `${WEB}/pull/7#discussion_r2`,
    at: new Date(Date.now() - 7_200_000).toISOString(),
    path: 'notebook.py',
    line: 41,
    review: 'changes_requested',
    bot: false,
    handed: true
  },
  {
    id: 'i3',
    author: 'ci-bot',
    body: 'The notebook was executed again in 41 s.',
    url: 'javascript:alert(1)',
    at: new Date().toISOString(),
    path: null,
    line: null,
    review: null,
    bot: true,
    handed: false
  }
];
