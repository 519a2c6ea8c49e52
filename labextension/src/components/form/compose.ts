/** From what was entered to the command that starts the research, or to what has to be put right before. */
import type { Model, NewResearch, Persona, Template } from '../../client';
import { firstLine } from '../../format';
import type { Settings, Trans } from '../../platform';
import type { ContextPart, Draft } from './draft';
import { limitsOf } from './draft';
import type { Raw } from './schema';
import { fieldsOf } from './schema';
import { collect } from './values';
import { candidates, isDataFile, legalName, slugOf } from './topics';

/** The server takes no longer topic; context is part of it. */
export const MAX_TOPIC = 2000;

/** What the server offers; null where it has not answered. */
export interface Offers {
  readonly templates: readonly Template[] | null;
  readonly models: readonly Model[] | null;
  readonly personas: readonly Persona[] | null;
}

/** A sentence by field: `topic`, `template`, `params.<name>`, `model`, `persona`, `where`, `repo`, `usd`, `minutes`, `turns`. */
export type Errors = Readonly<Record<string, string>>;

/** What a draft means with these settings and offers. */
export interface Plan {
  /** Chosen by the user or by the settings; null: by the topic. */
  readonly chosen: Template | null;
  /** The templates that fit the topic best; one decides, several or none make the server ask. */
  readonly fitting: readonly Template[];
  /** The one whose parameters can be set. */
  readonly template: Template | null;
  readonly raw: Raw;
  readonly model: Model | null;
  readonly persona: Persona | null;
  /** A data file of the context that is used as the parameter of this name. */
  readonly data: { readonly parameter: string; readonly part: ContextPart } | null;
  /** What is sent as the topic. */
  readonly topic: string;
  /** The name made from the topic; null when only the server can tell. */
  readonly slug: string | null;
}

export function planOf(draft: Draft, settings: Settings, offers: Offers): Plan {
  const templates = offers.templates ?? [];
  const wanted = draft.template ?? settings.defaultTemplate;
  const chosen = templates.find(template => template.name === wanted) ?? null;
  const fitting = chosen === null ? candidates(draft.topic, templates) : [chosen];
  const template = fitting.length === 1 ? (fitting[0] ?? null) : null;
  const persona = personaOf(draft, settings, offers.personas ?? []);
  const own = (template && draft.params[template.name]) ?? {};
  const data = template === null ? null : dataOf(template, own, draft.context);
  const raw = data === null ? own : { ...own, [data.parameter]: data.part.text.trim() };
  const rest = draft.context.filter(part => part !== data?.part);
  const topic = withContextText(draft.topic.trim(), rest);
  return {
    chosen,
    fitting,
    template,
    raw,
    model: modelOf(draft, settings, offers.models ?? [], persona),
    persona,
    data,
    topic,
    slug: slugOf(topic)
  };
}

/** A data file among the context belongs where the template reads its data, unless the user named another one. */
function dataOf(template: Template, raw: Raw, context: readonly ContextPart[]): Plan['data'] {
  const field = fieldsOf(template.parameters).find(one => one.control === 'dataset');
  const part = context.find(one => isDataFile(one.text));
  return field && part && !raw[field.name] ? { parameter: field.name, part } : null;
}

/** The topic, and below it what it is about. */
function withContextText(topic: string, context: readonly ContextPart[]): string {
  const parts = context.map(({ label, text }) =>
    text.includes('\n')
      ? `${label}:\n${text.trim()}`
      : label === text
        ? `- ${text}`
        : `- ${label}: ${text.trim()}`
  );
  return parts.length === 0 ? topic : `${topic}\n\nContext:\n${parts.join('\n')}`;
}

function modelOf(
  draft: Draft,
  settings: Settings,
  models: readonly Model[],
  persona: Persona | null
): Model | null {
  const usable = models.filter(canResearch);
  const named = (name: string | null | undefined) =>
    name ? usable.find(model => model.id === name || model.line === name) : undefined;
  return (
    named(draft.model) ??
    named(persona?.model) ??
    named(settings.defaultModel) ??
    usable.find(model => model.default) ??
    usable[0] ??
    null
  );
}

export function canResearch(model: Model): boolean {
  return model.available && model.kinds.includes('research');
}

function personaOf(draft: Draft, settings: Settings, personas: readonly Persona[]): Persona | null {
  const named = (name: string | undefined) => personas.find(persona => persona.name === name);
  return named(draft.persona) ?? named(settings.defaultPersona) ?? personas.find(one => one.default) ?? null;
}

/** The command, and what is wrong with it; it may be sent when `errors` is empty. */
export function compose(
  draft: Draft,
  plan: Plan,
  settings: Settings,
  trans: Trans
): { research: NewResearch; errors: Errors } {
  const errors: Record<string, string> = {};
  const topic = draft.topic.trim();
  if (topic === '') {
    errors.topic = trans.__('Say in a few words what to study.');
  } else if ([...plan.topic].length > MAX_TOPIC) {
    const length = [...plan.topic].length;
    errors.topic = draft.context.length
      ? trans.__(
          'Topic and context have %1 characters; %2 are possible. Remove some context.',
          length,
          MAX_TOPIC
        )
      : trans.__('The topic has %1 characters; %2 are possible.', length, MAX_TOPIC);
  }
  const filled = plan.template === null ? null : collect(plan.template.parameters, plan.raw, trans);
  for (const [name, sentence] of Object.entries(filled?.errors ?? {})) {
    errors[`params.${name}`] = sentence;
  }
  const repository = draft.repository ?? '';
  // In a repository that there is, the name of a new one means nothing.
  const repo = repository === '' ? (draft.repo?.trim() ?? '') : '';
  if (repo !== '' && !legalName(repo)) {
    errors.repo = trans.__('Use lower-case letters, digits and hyphens, at most 80.');
  }
  const limits = limitsOf(draft, settings);
  const budget = {
    usd: limit(limits.usd, 'usd', errors, trans),
    minutes: limit(limits.minutes, 'minutes', errors, trans),
    turns: limit(limits.turns, 'turns', errors, trans)
  };
  const params = filled?.params ?? {};
  const scripted = plan.model?.provider === 'template';
  // Words of the context must not change which template the topic chooses.
  const template =
    plan.chosen ?? (Object.keys(params).length > 0 || plan.topic !== topic ? plan.template : null);
  const research: NewResearch = {
    topic: plan.topic,
    ...(plan.topic !== topic || topic.includes('\n') ? { title: firstLine(topic, 200) } : {}),
    ...(template ? { template: template.name } : {}),
    ...(Object.keys(params).length > 0 ? { params } : {}),
    ...(plan.model ? { provider: plan.model.provider } : {}),
    ...(plan.model && !scripted ? { model: plan.model.id } : {}),
    ...(plan.persona ? { persona: plan.persona.name } : {}),
    ...(repo !== '' ? { repo_name: repo } : {}),
    ...(repository !== '' ? { repository } : {}),
    ...(Object.values(budget).some(value => value !== undefined) ? { budget: defined(budget) } : {})
  };
  return { research, errors };
}

function limit(
  entered: string,
  name: string,
  errors: Record<string, string>,
  trans: Trans
): number | undefined {
  const plain = entered.trim().replace(/^\$/, '').trim();
  const value = plain === '' ? 0 : /^(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : NaN;
  if (!Number.isFinite(value)) {
    errors[name] = trans.__('Enter a number, or nothing for the server’s own limit.');
  } else if (name === 'turns' && (!Number.isInteger(value) || value > 1000)) {
    errors[name] = trans.__('Enter a whole number up to 1000.');
  } else if (value > 0) {
    return value;
  }
  return undefined;
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}

/** The complaints about parameters, by their own names. */
export function byParameter(errors: Errors): Record<string, string> {
  return Object.fromEntries(
    Object.entries(errors)
      .filter(([name]) => name.startsWith('params.'))
      .map(([name, sentence]) => [name.slice('params.'.length), sentence])
  );
}
