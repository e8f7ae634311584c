/**
 * The customer's application: what a Laravel site around the server exposes.
 *
 * Authorizes channels and users, receives webhooks, and serves the page with the client libraries.
 * Uses the npm server SDK for every signature. Who asks is in the `X-User` header, as JSON
 * `{"id", "info", "watchlist"}`; a real site would take it from its session.
 */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';

import Pusher from 'pusher';

import { APP } from './config.js';
import { Recorder } from './wait.js';

const ROOT = new URL('..', import.meta.url);
const FILES = {
  '/': ['pages/index.html', 'text/html'],
  '/pusher.js': ['../node_modules/pusher-js/dist/web/pusher-with-encryption.js', 'text/javascript'],
  '/echo.js': ['../node_modules/laravel-echo/dist/echo.iife.js', 'text/javascript'],
};

/** 32 bytes that only the two SDKs and the authorized clients know; the server must never need them. */
export const MASTER_KEY = Buffer.from('the-bell-tower-beside-the-house!').toString('base64');

export class Application {
  #http;
  #signer;
  /** While true, the webhook route answers 503, as an application in maintenance does. */
  inMaintenance = false;
  /** One entry for each event in each webhook request: `{ name, event, request }`. */
  webhooks = new Recorder('the webhook receiver');
  /** The body of each webhook request that was answered 503. */
  refusedWebhooks = new Recorder('the webhook receiver in maintenance');
  /** One entry for each request to the two authorization routes: `{ path, form }`. */
  authorizations = new Recorder('the authorization routes');

  static async listen() {
    const application = new Application();
    application.#signer = new Pusher({
      appId: APP.id,
      key: APP.key,
      secret: APP.secret,
      encryptionMasterKeyBase64: MASTER_KEY,
    });
    application.#http = createServer((request, response) => {
      application.#answer(request).then(
        ({ status = 200, type = 'application/json', body = '' }) => {
          response.writeHead(status, { 'content-type': type }).end(body);
        },
        (error) => response.writeHead(500).end(String(error)),
      );
    }).listen(0, '127.0.0.1');
    await once(application.#http, 'listening');
    return application;
  }

  get origin() {
    return `http://127.0.0.1:${this.#http.address().port}`;
  }

  async close() {
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  async #answer(request) {
    const { pathname } = new URL(request.url, this.origin);
    const route = `${request.method} ${pathname}`;
    if (route === 'POST /broadcasting/auth') return this.#authorizeChannel(request, await form(request));
    if (route === 'POST /broadcasting/user-auth') return this.#authenticateUser(request, await form(request));
    if (route === 'POST /webhooks') return this.#receive(request, await text(request));
    if (request.method === 'GET' && FILES[pathname]) return file(...FILES[pathname]);
    return { status: 404 };
  }

  #authorizeChannel(request, fields) {
    this.authorizations.add({ path: '/broadcasting/auth', form: fields });
    const { socket_id: socketId, channel_name: channel, since } = fields;
    const user = currentUser(request);
    if (!user || channel.startsWith('private-forbidden')) {
      return { status: 403, body: '{"message":"This action is unauthorized."}' };
    }
    if (channel.startsWith('private-forged')) {
      return { body: JSON.stringify({ auth: `${APP.key}:${'0'.repeat(64)}` }) };
    }
    // A signed-in connection needs no channel_data: the server takes the identity from the signin.
    const member = channel.startsWith('presence-') && !channel.startsWith('presence-signed-in');
    const data = {
      ...(member && { user_id: user.id, user_info: user.info ?? {} }),
      // How far this browser has heard the channel, signed, so that the server sends what came after.
      ...(since && { since }),
    };
    return { body: JSON.stringify(this.#signer.authorizeChannel(socketId, channel, member || since ? data : undefined)) };
  }

  #authenticateUser(request, fields) {
    this.authorizations.add({ path: '/broadcasting/user-auth', form: fields });
    const user = currentUser(request);
    if (!user) return { status: 403 };
    const { id, info: user_info = {}, watchlist = [] } = user;
    const answer = this.#signer.authenticateUser(fields.socket_id, { id, user_info, watchlist });
    if (user.forged) answer.auth = `${APP.key}:${'0'.repeat(64)}`;
    return { body: JSON.stringify(answer) };
  }

  #receive(request, rawBody) {
    if (this.inMaintenance) {
      this.refusedWebhooks.add(rawBody);
      return { status: 503 };
    }
    const webhook = this.#signer.webhook({ headers: request.headers, rawBody });
    const valid = webhook.isValid();
    const received = { headers: request.headers, rawBody, valid };
    for (const event of valid ? webhook.getEvents() : [{ name: 'invalid' }]) {
      this.webhooks.add({ name: event.name, event, request: received });
    }
    return { status: valid ? 200 : 401 };
  }
}

/** The headers by which a client of this application says who it is. */
export function signedHeaders(user) {
  return user ? { 'X-User': JSON.stringify(user) } : {};
}

function currentUser(request) {
  const header = request.headers['x-user'];
  return header ? JSON.parse(header) : undefined;
}

async function text(request) {
  const chunks = await request.toArray();
  return Buffer.concat(chunks).toString('utf8');
}

async function form(request) {
  return Object.fromEntries(new URLSearchParams(await text(request)));
}

async function file(path, type) {
  return { type, body: await readFile(fileURLToPath(new URL(path, ROOT))) };
}
