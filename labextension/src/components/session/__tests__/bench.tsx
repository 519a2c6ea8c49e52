/** A session on a server in memory, for the tests of its view: its log, its state, and what it was told to do. */
import type { Socket } from '../../../__tests__/wire';
import type { ChatInfo } from '../../../model';
import type { EventFrame } from '../../../protocol';
import type { Desk } from '../../sessions/__tests__/desk';
import { chat, desk } from '../../sessions/__tests__/desk';

export const ID = 'c1';

const prices = { input: 2, output: 10 };
export const MODELS = [
  { id: 'template', provider: 'template', label: 'Template script', available: true, kinds: ['research'] },
  { id: 'sonnet', provider: 'anthropic', label: 'Sonnet', available: true, kinds: ['chat'], prices },
  {
    id: 'opus',
    provider: 'anthropic',
    label: 'Opus',
    available: false,
    reason: 'Not for you.',
    kinds: ['chat']
  }
];
export const PERSONAS = [
  { name: 'researcher', title: 'Researcher', default: true },
  { name: 'reviewer', title: 'Reviewer', default: false }
];
/** A server without a key: only template scripts do anything. */
export const KEYLESS = MODELS.map(one =>
  one.provider === 'template'
    ? one
    : { ...one, available: false, reason: 'No AI model is configured.', next: 'Set ANTHROPIC_API_KEY.' }
);

export interface Bench extends Desk {
  /** Commands that came over the socket, without subscriptions. */
  told: Record<string, unknown>[];
  /** Something happens in the session. */
  event(body: object): void;
  state(status: string, reason?: string): void;
  /** What the next command is refused with. */
  refusal: { code: string; error: string; next: string } | null;
}

interface Options {
  info?: Partial<ChatInfo>;
  /** What happened before it was opened: bodies of events. */
  log?: object[];
  state?: string;
  queue?: object[];
  hasMore?: boolean;
  models?: object[];
  kept?: Map<string, unknown>;
}

/** The session, not yet opened; call `platform.client.start()`. */
export function bench(options: Options = {}): Bench {
  const { info, log = [], state = 'finished', queue = [], hasMore = false, kept } = options;
  const at = desk(
    [chat({ id: ID, title: 'Momentum', persona: 'researcher', model: 'sonnet', ...info })],
    kept
  );
  const { office } = at;
  const rest = office.rest;
  office.models = options.models ?? MODELS;
  office.rest = (path, init) => (path === 'api/personas' ? PERSONAS : rest(path, init));
  office.logs.set(ID, []);
  log.forEach(body => office.happen(body, ID));
  const told: Record<string, unknown>[] = [];
  const made: Bench = {
    ...at,
    told,
    refusal: null,
    event: body => void office.happen(body, ID),
    state: (status, reason) =>
      void office.happen({ type: 'session_state', status, version: 2, ...(reason ? { reason } : {}) }, ID)
  };
  const answer = office.answer.bind(office);
  office.answer = (socket: Socket, frame: Record<string, unknown>) => {
    if (frame.type === 'subscribe' && frame.chatId === ID && frame.after === undefined) {
      const messages = office.log(ID);
      answer(socket, { ...frame, after: messages[messages.length - 1]?.seq ?? 0 });
      const ends = { fromSeq: messages[0]?.seq ?? 0, throughSeq: messages[messages.length - 1]?.seq ?? 0 };
      socket.give({ type: 'history', v: 1, ts: '', chatId: ID, messages, state, queue, hasMore, ...ends });
      return;
    }
    if (typeof frame.id === 'string') {
      told.push(frame);
      if (made.refusal !== null) {
        const { refusal } = made;
        made.refusal = null;
        socket.give({ type: 'error', v: 1, ts: '', id: frame.id, chatId: ID, retryable: false, ...refusal });
        return;
      }
    }
    answer(socket, frame);
  };
  return made;
}

/** The beginning of a research question as the log has it. */
export function question(topic = 'Does momentum pay?', budget: object | null = null): EventFrame {
  const research = {
    topic,
    template: 'equity_signal',
    params: { cost_bps: 20 },
    budget,
    provider: 'anthropic'
  };
  return {
    type: 'user_message',
    id: 'm1',
    content: topic,
    by: 'ana',
    runId: 'r1',
    research
  } as unknown as EventFrame;
}
