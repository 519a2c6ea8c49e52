/** The Jupyter server as JupyterLab knows it: its address under any prefix, its token, its XSRF cookie. */
import { ServerConnection } from '@jupyterlab/services';

import type { Server } from '../client';

export function createLabServer(settings: ServerConnection.ISettings): Server {
  const http = below(settings.baseUrl);
  const ws = below(settings.wsUrl);
  return {
    // makeRequest adds the token or the XSRF token, and rejects only when there was no answer.
    request: (path, init = {}) => ServerConnection.makeRequest(http + path, init, settings),
    socket: path => new settings.WebSocket(ws + path + token(settings, path)),
    url: path => http + path
  };
}

/** `{base}postdoc/`; the base may lack its slash. */
function below(base: string): string {
  return `${base.replace(/\/+$/, '')}/postdoc/`;
}

/** A browser cannot set headers on a socket: where no cookie would be sent, JupyterLab asks for the token in the address. */
function token(settings: ServerConnection.ISettings, path: string): string {
  if (!settings.appendToken || settings.token === '') {
    return '';
  }
  return `${path.includes('?') ? '&' : '?'}token=${encodeURIComponent(settings.token)}`;
}
