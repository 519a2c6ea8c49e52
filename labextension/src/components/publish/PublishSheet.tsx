/** All choices of a publication: whose, its name, who can see it, which history, and whether a pull request is opened. */
import React, { useId, useState } from 'react';

import type { Owner, PublishOptions } from '../../client';
import type { Publication } from '../../model';
import { useTrans } from '../../platform';
import { Field } from '../form/Field';
import { Banner, Button, Icon } from '../ui';
import { useGitHub } from './github';
import { legalOnGitHub, nearestName } from './names';
import { Place } from './Parts';
import { Sheet } from './Sheet';

interface PublishSheetProps {
  /** Of the repository on this machine. */
  name: string;
  publication: Publication | null;
  onClose: () => void;
  onPublish: (options: PublishOptions) => void;
}

type History = 'full' | 'squashed' | '';

export function PublishSheet({ name, publication, onClose, onPublish }: PublishSheetProps): JSX.Element {
  const trans = useTrans();
  const id = useId();
  const { status } = useGitHub();
  const repository = publication?.repository;
  // Who has to find another name has no repository of this name, whatever there is on the forge.
  const renames =
    publication?.problem?.actions.some(one => one === 'rename' || one === 'use_existing') === true;
  const placed = repository !== undefined && !renames;
  const wanted = repository?.name.split('/') ?? [];
  const [owner, setOwner] = useState<string | null>(null);
  const [entered, setName] = useState<string | null>(null);
  const [hidden, setHidden] = useState<boolean | null>(null);
  const [chosen, setHistory] = useState<History | null>(null);
  const [pull, setPull] = useState<boolean | null>(null);
  const [complained, setComplained] = useState(false);

  const owners = ownersOf(status?.owners ?? [], [wanted[0], status?.defaults.owner]);
  const mayCreate = owners.find(one => one.mayCreate !== false)?.login;
  const theOwner = owner ?? wanted[0] ?? (status?.defaults.owner || mayCreate || '');
  const theName = (entered ?? (publication?.problem?.proposal || wanted[1] || name)).trim();
  const isHidden = hidden ?? repository?.private ?? status?.defaults.private ?? true;
  const withPull = pull ?? (publication?.once ? publication.pull !== undefined : true);
  const usual: History = status?.defaults.history === 'squashed' ? 'squashed' : 'full';
  const history = chosen ?? (publication === null ? usual : '');
  const legal = legalOnGitHub(theName);
  const offer = nearestName(theName);
  const submit = () => {
    if (!placed && !legal) {
      setComplained(true);
      document.getElementById(`${id}-form`)?.querySelector<HTMLElement>('[aria-invalid], input')?.focus();
      return;
    }
    onPublish({
      ...(placed ? {} : { ...(theOwner ? { owner: theOwner } : {}), name: theName, private: isHidden }),
      ...(history === '' ? {} : { history }),
      ...(pull === null && publication !== null ? {} : { pullRequest: withPull })
    });
  };
  return (
    <Sheet
      title={trans.__('Publish on GitHub')}
      onClose={onClose}
      footer={
        <>
          <Button kind="accept" icon="publish" onClick={submit}>
            {trans.__('Publish')}
          </Button>
          <Button onClick={onClose}>{trans.__('Cancel')}</Button>
        </>
      }
    >
      <form
        className="jp-Postdoc-SheetForm"
        id={`${id}-form`}
        noValidate
        onSubmit={event => {
          event.preventDefault();
          submit();
        }}
      >
        {status?.connected === false && (
          <Banner tone="warn">{trans.__('GitHub is not connected. Connect it before you publish.')}</Banner>
        )}
        {placed && repository ? (
          <div>
            <p className="jp-Postdoc-Field-label">{trans.__('Repository')}</p>
            <Place name={repository.name} hidden={repository.private} />
          </div>
        ) : (
          <>
            <Field
              label={trans.__('Owner')}
              name="owner"
              help={
                owners.find(one => one.login === theOwner)?.mayCreate === false
                  ? trans.__('Your token may not make repositories there.')
                  : undefined
              }
            >
              {wiring => (
                <select
                  {...wiring}
                  className="jp-Postdoc-Select"
                  value={theOwner}
                  onChange={event => setOwner(event.target.value)}
                >
                  {theOwner === '' && <option value="">{trans.__('The server chooses')}</option>}
                  {owners.map(one => (
                    <option key={one.login} value={one.login}>
                      {ownerText(trans, one)}
                    </option>
                  ))}
                </select>
              )}
            </Field>
            <Field
              label={trans.__('Name')}
              name="name"
              required
              error={
                !legal && (complained || theName !== '')
                  ? offer
                    ? trans.__('Repository names may use letters, digits, - . _ ; suggestion: %1', offer)
                    : trans.__('Repository names may use letters, digits, - . _')
                  : undefined
              }
              remedy={
                !legal && offer && offer !== theName ? (
                  <Button kind="link" onClick={() => setName(offer)}>
                    {trans.__('Use %1', offer)}
                  </Button>
                ) : undefined
              }
            >
              {wiring => (
                <input
                  {...wiring}
                  className="jp-Postdoc-Input"
                  data-autofocus
                  value={entered ?? theName}
                  maxLength={100}
                  spellCheck={false}
                  autoComplete="off"
                  onChange={event => setName(event.target.value)}
                />
              )}
            </Field>
            <fieldset className="jp-Postdoc-Choice">
              <legend className="jp-Postdoc-Field-label">{trans.__('Who can see it')}</legend>
              <Option
                group={`${id}-see`}
                checked={isHidden}
                onChange={() => setHidden(true)}
                title={trans.__('Private')}
                text={trans.__('Only you and whom you invite.')}
              />
              <Option
                group={`${id}-see`}
                checked={!isHidden}
                onChange={() => setHidden(false)}
                title={trans.__('Public')}
                text={trans.__(
                  'Everybody on the internet: the question, the notebook, its results, and every step that is sent. What was public once may have been copied.'
                )}
              />
            </fieldset>
          </>
        )}
        <fieldset className="jp-Postdoc-Choice">
          <legend className="jp-Postdoc-Field-label">{trans.__('History')}</legend>
          {publication !== null && (
            <Option
              group={`${id}-history`}
              checked={history === ''}
              onChange={() => setHistory('')}
              title={trans.__('As before')}
              text={trans.__('What was chosen the last time.')}
            />
          )}
          <Option
            group={`${id}-history`}
            checked={history === 'full'}
            onChange={() => setHistory('full')}
            title={trans.__('All steps')}
            text={trans.__('Each step of the work is a commit that a reviewer can look at.')}
          />
          <Option
            group={`${id}-history`}
            checked={history === 'squashed'}
            onChange={() => setHistory('squashed')}
            title={trans.__('One commit')}
            text={trans.__('Only the outcome. The steps stay on this machine.')}
          />
        </fieldset>
        <label className="jp-Postdoc-Tick">
          <input type="checkbox" checked={withPull} onChange={event => setPull(event.target.checked)} />
          <span>
            {trans.__('Open a draft pull request')}
            <span className="jp-Postdoc-Small">
              {trans.__('Others can comment on it line by line; nothing is merged by itself.')}
            </span>
          </span>
        </label>
        {!isHidden && !placed && (
          <p className="jp-Postdoc-Said jp-mod-bad">
            <Icon name="globe" />
            <span>{trans.__('This publishes the work to everybody.')}</span>
          </p>
        )}
        <button type="submit" hidden tabIndex={-1} aria-hidden="true" />
      </form>
    </Sheet>
  );
}

interface OptionProps {
  group: string;
  checked: boolean;
  onChange: () => void;
  title: string;
  text: string;
}

/** One of several: arrows choose, as radio buttons do. */
export function Option({ group, checked, onChange, title, text }: OptionProps): JSX.Element {
  return (
    <label className="jp-Postdoc-Tick">
      <input type="radio" name={group} checked={checked} onChange={onChange} />
      <span>
        {title}
        <span className="jp-Postdoc-Small">{text}</span>
      </span>
    </label>
  );
}

/** The owners, with those that are named elsewhere and that GitHub did not list. */
function ownersOf(owners: readonly Owner[], more: readonly (string | undefined)[]): readonly Owner[] {
  const missing = more.filter(
    (login, index): login is string =>
      !!login && more.indexOf(login) === index && !owners.some(one => one.login === login)
  );
  return [...owners, ...missing.map(login => ({ login, kind: 'user', mayCreate: null }))];
}

function ownerText(trans: ReturnType<typeof useTrans>, { login, kind, mayCreate }: Owner): string {
  const what = kind.startsWith('org') ? trans.__('%1 (organisation)', login) : login;
  return mayCreate === false ? trans.__('%1, not allowed', what) : what;
}
