import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { IncomingMessage } from 'node:http';

import { ServerConnection } from '@jupyterlab/services';
import { afterEach, describe, expect, it } from 'vitest';

import { createLabServer } from '../server';

const closers: (() => void)[] = [];
afterEach(() => closers.splice(0).forEach(close => close()));

class Socket {
  constructor(readonly url: string) {}
}

function settings(more: Partial<ServerConnection.ISettings> = {}): ServerConnection.ISettings {
  return ServerConnection.makeSettings({
    baseUrl: 'http://hub.example/user/ada/',
    wsUrl: 'ws://hub.example/user/ada/',
    token: 'a b&c',
    appendToken: false,
    WebSocket: Socket as unknown as typeof WebSocket,
    ...more
  });
}

const urlOf = (socket: WebSocket) => (socket as unknown as Socket).url;

describe('the server of JupyterLab', () => {
  it('keeps the prefix, with and without its slash', () => {
    expect(createLabServer(settings()).url('api/chats?x=1')).toBe(
      'http://hub.example/user/ada/postdoc/api/chats?x=1'
    );
    expect(createLabServer(settings({ baseUrl: 'http://h/p' })).url('')).toBe('http://h/p/postdoc/');
  });

  it('puts the token into the address of a socket only when JupyterLab says so', () => {
    expect(urlOf(createLabServer(settings()).socket('ws'))).toBe('ws://hub.example/user/ada/postdoc/ws');
    const server = createLabServer(settings({ appendToken: true }));
    expect(urlOf(server.socket('ws'))).toBe('ws://hub.example/user/ada/postdoc/ws?token=a%20b%26c');
    expect(urlOf(server.socket('ws?a=1'))).toBe('ws://hub.example/user/ada/postdoc/ws?a=1&token=a%20b%26c');
    expect(urlOf(createLabServer(settings({ appendToken: true, token: '' })).socket('ws'))).not.toContain(
      'token'
    );
    expect(server.url('page')).not.toContain('token');
  });

  it('sends the login with a request, and rejects only without an answer', async () => {
    const seen: IncomingMessage[] = [];
    const http = createServer((request, response) => {
      seen.push(request);
      response.writeHead(request.url?.includes('missing') ? 404 : 200, {
        'Access-Control-Allow-Origin': '*',
        'Access-Control-Allow-Headers': '*'
      });
      response.end('{}');
    });
    await new Promise<void>(done => http.listen(0, '127.0.0.1', done));
    const base = `http://127.0.0.1:${(http.address() as AddressInfo).port}/pre/`;
    const server = createLabServer(settings({ baseUrl: base, token: 'secret' }));
    closers.push(() => http.close());

    const response = await server.request('api/chats', { method: 'POST', body: '{}' });
    expect(response.ok).toBe(true);
    const post = seen.find(request => request.method === 'POST');
    expect(post?.url).toMatch(/^\/pre\/postdoc\/api\/chats/);
    expect(post?.headers.authorization).toBe('token secret');
    expect((await server.request('missing')).status).toBe(404);

    await new Promise<void>(done => {
      http.close(() => done());
      http.closeAllConnections();
    });
    await expect(server.request('api/chats')).rejects.toThrow();
  });
});
