/** A new research: one sentence and one click. Everything else has a good default and waits under "Options". */
import React, { useEffect, useMemo, useRef, useState } from 'react';

import { useNavigation } from '../../navigation';
import { usePlatform, useSelected, useSettings, useTrans } from '../../platform';
import { Banner, Button, Disclosure, Elapsed } from '../ui';
import { Limits, ModelField, PersonaField, RepoField } from './Choices';
import type { Errors } from './compose';
import { MAX_TOPIC, byParameter, compose, planOf } from './compose';
import { ContextChips } from './ContextChips';
import type { Draft } from './draft';
import { limitsOf, newKey, withContext } from './draft';
import { Field } from './Field';
import type { Placed } from './problems';
import { place, problemFrom } from './problems';
import { fieldsOf } from './schema';
import { SchemaForm } from './SchemaForm';
import { FitLine, TemplateField } from './TemplateField';
import { WhereField } from './WhereField';
import type { NewRoute } from './useDraft';
import { useDraft } from './useDraft';
import { useOffers } from './useOffers';

const OUT_OF_REACH = ['offline', 'reconnecting', 'expired', 'missing'];
/** From here on the number of characters is shown. */
const NEARLY_FULL = 1600;

export function NewResearch({ route }: { route: NewRoute }): JSX.Element {
  const { client } = usePlatform();
  const trans = useTrans();
  const settings = useSettings();
  const navigation = useNavigation();
  const connection = useSelected(state => state.connection.state);
  const { offers, problem: missing, reload } = useOffers();
  const { draft, change, aside, bringBack, restored, startOver, done } = useDraft(route);
  const plan = useMemo(() => planOf(draft, settings, offers), [draft, settings, offers]);

  const [errors, setErrors] = useState<Errors>({});
  const [refused, setRefused] = useState<Placed | null>(null);
  const [startedAt, setStartedAt] = useState<number | null>(null);
  const [toError, setToError] = useState(0);
  const sending = useRef(false);
  const refusedChat = useRef<string | null>(null);
  const here = useRef(true);
  const form = useRef<HTMLFormElement>(null);
  const topic = useRef<HTMLTextAreaElement>(null);
  const offline = OUT_OF_REACH.includes(connection);

  useEffect(() => {
    here.current = true;
    topic.current?.focus();
    return () => {
      here.current = false;
    };
  }, [route]);

  useEffect(() => {
    if (toError > 0) {
      const input = '.jp-mod-invalid :is(textarea, input, select)';
      (
        form.current?.querySelector<HTMLElement>(input) ??
        form.current?.querySelector<HTMLElement>('[role=alert]')
      )?.focus();
    }
  }, [toError]);

  /** A change, which also takes away the complaints about these fields. */
  const edit = (changes: Partial<Draft>, ...fields: string[]) => {
    change(changes);
    setErrors(known => Object.fromEntries(Object.entries(known).filter(([name]) => !fields.includes(name))));
    setRefused(known => (known?.field && fields.includes(known.field) ? null : known));
  };

  const complain = (found: Errors) => {
    setErrors(found);
    // The fields under "Options" have to be there to take the focus.
    if (Object.keys(found).some(name => name !== 'topic')) {
      change({ open: true });
    }
    setToError(n => n + 1);
  };

  const submit = async () => {
    if (sending.current || offline) {
      return;
    }
    const { research, errors: found } = compose(draft, plan, settings, trans);
    setRefused(null);
    if (Object.keys(found).length > 0) {
      complain(found);
      return;
    }
    // A refused command may be sent again under the same key, in the chat that was made for it; not in another one.
    const chat = JSON.stringify([research.title, research.model, research.persona]);
    const key = refusedChat.current === null || refusedChat.current === chat ? draft.key : newKey();
    change({ key });
    refusedChat.current = null;
    sending.current = true;
    setErrors({});
    setStartedAt(Date.now());
    try {
      const id = await client.research(research, key);
      done();
      if (here.current) {
        navigation.go({ view: 'session', id });
      }
    } catch (reason) {
      const placed = place(
        problemFrom(reason, trans),
        plan.template ? fieldsOf(plan.template.parameters) : []
      );
      if (placed.problem.code === 'id_conflict') {
        change({ key: newKey() }); // it was begun before, as something else: the next one is another research
      } else if (!placed.problem.retryable) {
        refusedChat.current = chat;
      }
      if (here.current) {
        setRefused(placed);
        complain(
          placed.field ? { [placed.field]: `${placed.problem.error} ${placed.problem.next}`.trim() } : {}
        );
      }
      sending.current = false; // after a success there is nothing left to send from here
      if (here.current) {
        setStartedAt(null);
      }
    }
  };

  const onKey = (event: React.KeyboardEvent) => {
    if (event.key !== 'Enter' || event.nativeEvent.isComposing) {
      return;
    }
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      event.stopPropagation();
      void submit();
    } else if (event.target instanceof HTMLInputElement) {
      event.preventDefault(); // a number is typed, not a start
    }
  };

  const params = plan.template;
  const length = [...plan.topic].length;
  const busy = startedAt !== null;
  return (
    <form
      className="jp-Postdoc-Form"
      aria-label={trans.__('New research')}
      ref={form}
      noValidate
      onKeyDown={onKey}
      onSubmit={event => {
        event.preventDefault();
        void submit();
      }}
    >
      <div className="jp-Postdoc-Form-body">
        {offline && (
          <Banner tone="warn">
            {trans.__('No connection. What you type is kept; you can start when the connection is back.')}
          </Banner>
        )}
        {refused && refused.field === null && (
          <div className="jp-Postdoc-Form-alert" role="alert" tabIndex={-1}>
            <strong>{refused.problem.error}</strong> {refused.problem.next}
          </div>
        )}
        {aside && (
          <Banner actions={<Button onClick={bringBack}>{trans.__('Bring it back')}</Button>}>
            {trans.__('You had begun another one: “%1”', aside.topic.trim().slice(0, 80))}
          </Banner>
        )}
        <Field
          label={trans.__('Topic')}
          name="topic"
          required
          error={errors.topic}
          help={length > NEARLY_FULL ? trans.__('%1 of %2 characters', length, MAX_TOPIC) : undefined}
        >
          {wiring => (
            <textarea
              {...wiring}
              ref={topic}
              className="jp-Postdoc-Textarea jp-Postdoc-Form-topic"
              rows={3}
              value={draft.topic}
              placeholder={trans.__(
                'What do you want to find out? For example: Does short-term reversal survive costs?'
              )}
              onChange={event => edit({ topic: event.target.value }, 'topic')}
            />
          )}
        </Field>
        <FitLine plan={plan} topic={draft.topic} loaded={offers.templates !== null} />
        <ContextChips
          context={draft.context}
          plan={plan}
          onAdd={part => edit({ context: withContext(draft.context, [part]) }, 'topic')}
          onRemove={part => edit({ context: draft.context.filter(one => one !== part) }, 'topic')}
        />
        {missing && (
          <Banner tone="warn" actions={<Button onClick={reload}>{trans.__('Retry')}</Button>}>
            {trans.__('Some choices could not be loaded: %1', missing.error)}
          </Banner>
        )}
        <Disclosure
          className="jp-Postdoc-Form-options"
          open={draft.open}
          onToggle={open => change({ open })}
          summary={
            <span className="jp-Postdoc-Form-summary">
              <span className="jp-Postdoc-Form-summaryTitle">{trans.__('Options')}</span>
              <span className="jp-Postdoc-Form-summaryText">
                {[plan.chosen?.title, plan.model?.label].filter(Boolean).join(' · ')}
              </span>
            </span>
          }
        >
          {offers.templates && (
            <TemplateField
              templates={offers.templates}
              plan={plan}
              error={errors.template}
              onChange={template => edit({ template }, 'template')}
            />
          )}
          {params && fieldsOf(params.parameters).length > 0 && (
            <section
              className="jp-Postdoc-Form-group"
              aria-label={trans.__('Parameters of %1', params.title)}
            >
              <h3 className="jp-Postdoc-Form-heading">{params.title}</h3>
              <SchemaForm
                schema={params.parameters}
                value={plan.raw}
                errors={byParameter(errors)}
                onChange={raw =>
                  edit(
                    { params: { ...draft.params, [params.name]: raw } },
                    ...fieldsOf(params.parameters).map(field => `params.${field.name}`)
                  )
                }
              />
            </section>
          )}
          {offers.models && (
            <ModelField
              models={offers.models}
              chosen={plan.model}
              error={errors.model}
              onChange={model => edit({ model }, 'model')}
            />
          )}
          {offers.personas && (
            <PersonaField
              personas={offers.personas}
              chosen={plan.persona}
              error={errors.persona}
              onChange={persona => edit({ persona }, 'persona')}
            />
          )}
          <WhereField
            value={draft.repository ?? ''}
            error={errors.where}
            onChange={repository => edit({ repository }, 'where', 'repo')}
          />
          {!draft.repository && (
            <RepoField
              value={draft.repo ?? ''}
              plan={plan}
              error={errors.repo}
              proposal={refused?.field === 'repo' ? refused.proposal : null}
              onChange={repo => edit({ repo }, 'repo')}
            />
          )}
          <Limits
            values={limitsOf(draft, settings)}
            errors={errors}
            onChange={(name, value) => edit({ [name]: value }, name)}
          />
        </Disclosure>
      </div>
      <footer className="jp-Postdoc-Form-footer">
        <Button
          kind="accept"
          icon="play"
          submit
          busy={busy}
          disabled={offline}
          title={trans.__('Start (Ctrl/⌘ Enter)')}
        >
          {busy ? trans.__('Starting…') : trans.__('Start')}
        </Button>
        <Button onClick={() => navigation.go({ view: 'sessions' })}>{trans.__('Cancel')}</Button>
        {startedAt !== null && <Elapsed since={startedAt} />}
        {restored && !busy && (
          <Button kind="link" className="jp-Postdoc-Form-over" onClick={startOver}>
            {trans.__('Start over')}
          </Button>
        )}
      </footer>
    </form>
  );
}
