/** Where to find what a session has made. */
import React from 'react';

import { EXTERNAL, safeUrl } from '../../links';
import type { ChatInfo, SessionView } from '../../model';
import { usePlatform, useTrans } from '../../platform';
import { recordOf, textIn } from '../../store/parts';
import type { IconName } from '../ui';
import { hasPlace } from '../publish/place';
import { Button, Icon } from '../ui';

export function Links({ view, info }: { view: SessionView; info: ChatInfo | null }): JSX.Element | null {
  const platform = usePlatform();
  const trans = useTrans();
  const { openNotebook, openReport, openFolder } = platform;
  const { artifacts } = view;
  // The project knows where its files will be, also before there are any. Events tell which of them there are; only
  // where the oldest ones are not loaded, the project has to do.
  const project = recordOf(view.hasMore ? info?.project : null);
  const notebook = artifacts.notebook?.path ?? textIn(project, 'notebook');
  const hasReport = artifacts.report !== undefined || textIn(project, 'report') !== '';
  const folder = artifacts.repo?.path ?? textIn(recordOf(info?.project), 'path');
  const urls: [string, string, IconName][] = [
    ['repo', trans.__('Repository'), 'external'],
    ['branch', trans.__('Branch'), 'branch'],
    ['compare', trans.__('Compare'), 'external'],
    ['pr', trans.__('Pull request'), 'external']
  ];
  const links = [
    notebook && openNotebook !== undefined && (
      <Button
        key="notebook"
        kind="link"
        icon="notebook"
        onClick={() => openNotebook.call(platform, notebook)}
      >
        {trans.__('Notebook')}
      </Button>
    ),
    hasReport && openReport !== undefined && (
      <Button
        key="report"
        kind="link"
        icon="book"
        onClick={() => openReport.call(platform, view.id, info?.title || view.title || '')}
      >
        {trans.__('Report')}
      </Button>
    ),
    folder && openFolder !== undefined && (
      <Button key="folder" kind="link" icon="folder" onClick={() => openFolder.call(platform, folder)}>
        {trans.__('Folder')}
      </Button>
    ),
    ...urls.map(([name, label, icon]) => {
      const known = artifacts[name];
      const url = safeUrl(known?.url);
      if (url) {
        return (
          <a
            key={name}
            className="jp-Postdoc-Button jp-mod-link"
            href={url}
            title={trans.__('%1 (opens in a new tab)', url)}
            {...EXTERNAL}
          >
            <Icon name={icon} />
            <span>{label}</span>
          </a>
        );
      }
      // A branch that nobody else has yet has a name and no address.
      return (
        name === 'branch' &&
        known?.title && (
          <span key={name} className="jp-Postdoc-Links-text" title={label}>
            <Icon name={icon} />
            <span className="jp-Postdoc-hidden">{label}: </span>
            <span>{known.title}</span>
          </span>
        )
      );
    }),
    hasPlace(view) && <ToPublication key="publication" view={view} />
  ].filter(Boolean);
  return links.length === 0 ? null : (
    <nav className="jp-Postdoc-Links" aria-label={trans.__('What this session has made')}>
      {links}
    </nav>
  );
}

/** Leads to the card in the timeline. */
function ToPublication({ view }: { view: SessionView }): JSX.Element {
  const trans = useTrans();
  const { publication } = view;
  const [text, icon]: [string, IconName] =
    publication === null
      ? [trans.__('Publish…'), 'publish']
      : publication.state === 'publishing'
        ? [trans.__('Publishing…'), 'spinner']
        : publication.state === 'failed'
          ? [publication.branch ? trans.__('Last attempt failed') : trans.__('Not published'), 'warn']
          : publication.ahead > 0
            ? [trans.__('Publish again…'), 'publish']
            : [trans.__('Published'), 'check'];
  return (
    <Button
      kind="link"
      icon={icon}
      title={trans.__('Show the publication')}
      onClick={event => {
        const card = event.currentTarget
          .closest('.jp-Postdoc-Session')
          ?.querySelector<HTMLElement>('[data-publication]');
        card?.scrollIntoView({ block: 'nearest' });
        card?.focus({ preventScroll: true });
      }}
    >
      {text}
    </Button>
  );
}
