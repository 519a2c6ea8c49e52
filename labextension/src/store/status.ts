/** The states of sessions. */
import type { Status } from '../model';

const STATUSES: ReadonlySet<string> = new Set<Status>([
  'queued',
  'starting',
  'running',
  'waiting',
  'paused',
  'stopping',
  'stopped',
  'finished',
  'error',
  'interrupted'
]);

/** A state from the wire, `unknown` when this client has never heard of it. */
export function statusOf(text: string): Status {
  return STATUSES.has(text) ? (text as Status) : 'unknown';
}

/** Whether a session in this state will do something by itself, or waits for the user to let it. */
export function atWork(status: Status): boolean {
  return !['stopped', 'finished', 'error', 'interrupted', 'unknown'].includes(status);
}
