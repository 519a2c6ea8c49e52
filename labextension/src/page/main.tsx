/** The page at `{base_url}postdoc/`: the panel's views for whoever follows without JupyterLab. */
import React from 'react';
import { createRoot } from 'react-dom/client';

import '../../style/index.css';
import '../../style/page.css';
import { App } from '../components/App';
import { pageServer } from '../connection';
import { createClient } from '../live';
import { Navigation } from '../navigation';
import { begin, follow, rootOf } from './address';
import { english } from './english';
import type { PageConfig } from './platform';
import { createPagePlatform } from './platform';
import { PageSettings } from './settings';
import { titleOf } from './title';

function start(): void {
  const host = document.getElementById('postdoc');
  const text = document.getElementById('postdoc-config')?.textContent;
  if (host === null || !text) {
    return;
  }
  const config = JSON.parse(text) as PageConfig;
  const settings = new PageSettings(); // first of all: it sets the theme
  const root = rootOf(config.baseUrl);
  const { client, store } = createClient(pageServer(config.baseUrl), { name: `page/${config.version}` });
  const navigation = new Navigation(begin(root));
  follow(navigation, root);

  const title = () => {
    const now = titleOf(navigation.get(), store.getState(), english);
    if (document.title !== now) {
      document.title = now;
    }
  };
  store.subscribe(title);
  navigation.subscribe(title);

  host.setAttribute('role', 'main');
  client.start();
  createRoot(host).render(
    <>
      <h1 className="jp-Postdoc-hidden">Postdoc</h1>
      <App
        platform={createPagePlatform(config, client, store, settings, navigation)}
        navigation={navigation}
        wide
      />
    </>
  );
  title();
}

start();
