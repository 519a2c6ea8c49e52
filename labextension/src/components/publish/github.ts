/** How GitHub is connected: asked for once, shared by all that show it. */
import { useEffect, useMemo, useSyncExternalStore } from 'react';

import type { Client, GitHubStatus } from '../../client';
import { RequestFailed } from '../../client';
import type { Problem } from '../../model';
import { usePlatform, useSelected } from '../../platform';

export interface Known {
  /** Null: not known (yet). */
  readonly status: GitHubStatus | null;
  readonly problem: Problem | null;
  readonly loading: boolean;
}

const NOTHING: Known = { status: null, problem: null, loading: false };
/** The server asks GitHub no oftener than this; milliseconds. */
const FRESH_MS = 60_000;

class GitHubKnown {
  private now = NOTHING;
  private at = -Infinity;
  private listeners = new Set<() => void>();

  constructor(private readonly client: Client) {}

  get = (): Known => this.now;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  };

  take = (status: GitHubStatus): void => {
    this.at = Date.now();
    this.put({ status, problem: null, loading: false });
  };

  /** Ask, unless it was asked a moment ago. */
  load = (again = false): void => {
    if (this.now.loading || (!again && Date.now() - this.at < FRESH_MS)) {
      return;
    }
    this.put({ ...this.now, loading: true });
    this.client.github().then(this.take, (error: unknown) => {
      const problem = error instanceof RequestFailed ? error.problem : null;
      this.put({ ...this.now, problem, loading: false });
    });
  };

  private put(now: Known): void {
    this.now = now;
    this.listeners.forEach(listener => listener());
  }
}

const known = new WeakMap<Client, GitHubKnown>();

function knownOf(client: Client): GitHubKnown {
  const found = known.get(client) ?? new GitHubKnown(client);
  known.set(client, found);
  return found;
}

interface UseGitHub extends Known {
  load: (again?: boolean) => void;
  take: (status: GitHubStatus) => void;
}

/** `wanted` false: nothing is asked, what is known is still told. */
export function useGitHub(wanted = true): UseGitHub {
  const { client } = usePlatform();
  const online = useSelected(state => state.connection.state === 'connected');
  const shared = useMemo(() => knownOf(client), [client]);
  const now = useSyncExternalStore(shared.subscribe, shared.get);
  useEffect(() => {
    if (wanted && online) {
      shared.load();
    }
  }, [wanted, online, shared]);
  return { ...now, load: shared.load, take: shared.take };
}
