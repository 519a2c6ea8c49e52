/** The page at `{base_url}postdoc/`: the panel's views for whoever follows without JupyterLab. */
import React from 'react';
import { createRoot } from 'react-dom/client';

import '../../style/index.css';
import '../../style/page.css';
import { App } from '../components/App';
import { badge } from '../components/sessions/order';
import { pageServer } from '../connection';
import { createClient } from '../live';
import { Navigation } from '../navigation';
import { follow, routeOf } from './address';
import type { PageConfig } from './platform';
import { createPagePlatform, english } from './platform';

function start(): void {
  const host = document.getElementById('postdoc');
  const text = document.getElementById('postdoc-config')?.textContent;
  if (host === null || !text) {
    return;
  }
  const config = JSON.parse(text) as PageConfig;
  const root = `${config.baseUrl.replace(/\/*$/, '/')}postdoc/`;
  const { client, store } = createClient(pageServer(config.baseUrl), { name: `page/${config.version}` });
  const navigation = new Navigation(routeOf(window.location.pathname.slice(root.length)));
  follow(navigation, root);

  const title = () => {
    const state = store.getState();
    const route = navigation.get();
    const needs = badge(state);
    const name =
      route.view === 'session' ? state.sessions?.[route.id]?.title || english.__('Session') : english.__('Research');
    document.title = `${needs > 0 ? `(${needs}) ` : ''}${name} · Postdoc`;
  };
  store.subscribe(title);
  navigation.subscribe(title);

  client.start();
  createRoot(host).render(
    <App platform={createPagePlatform(config, client, store)} navigation={navigation} wide />
  );
  title();
}

start();
