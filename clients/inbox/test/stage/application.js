/**
 * The application around the inbox: its authorization endpoint and its pages.
 *
 * Owns who may subscribe: the user of the `user` cookie, or of the header `X-User`, to `private-user.{user}`. The invariant: a page
 * comes from another origin than the server, as it does in life. Read on in `stage.js`.
 */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

import { APP, sign } from './server.js';

const ROOT = new URL('../../', import.meta.url);
const MODULES = new URL('../../../../node_modules/', import.meta.url);
const FILES = {
  '/': [new URL('test/pages/index.html', ROOT), 'text/html'],
  '/page.js': [new URL('test/pages/page.js', ROOT), 'text/javascript'],
  '/page.css': [new URL('test/pages/page.css', ROOT), 'text/css'],
  '/index.js': [new URL('dist/index.js', ROOT), 'text/javascript'],
  '/element.js': [new URL('dist/element.js', ROOT), 'text/javascript'],
  '/pusher.js': [new URL('pusher-js/dist/web/pusher.js', MODULES), 'text/javascript'],
  '/echo.js': [new URL('laravel-echo/dist/echo.iife.js', MODULES), 'text/javascript'],
};

export class Application {
  #http;
  #pages = new Map();
  /** Authorizations so far: `{ user, socket, channel }`. */
  authorizations = [];
  /** While true, nobody is authorized. */
  refuses = false;

  static async listen() {
    const application = new Application();
    application.#http = createServer((request, response) => void application.#serve(request, response));
    application.#http.listen(0, '127.0.0.1');
    await once(application.#http, 'listening');
    return application;
  }

  get origin() {
    return `http://127.0.0.1:${this.#http.address().port}`;
  }

  /** Serves a further file. */
  add(path, body, type) {
    this.#pages.set(path, { body, type });
  }

  async close() {
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  authorize(user, socket, channel) {
    this.authorizations.push({ user, socket, channel });
    if (this.refuses || channel !== `private-user.${user}`) return undefined;
    return { auth: `${APP.key}:${sign(`${socket}:${channel}`)}` };
  }

  async #serve(request, response) {
    const { pathname } = new URL(request.url, this.origin);
    if (pathname === '/broadcasting/auth') {
      const form = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
      const user = request.headers['x-user'] ?? request.headers.cookie?.match(/user=(\w+)/)?.[1];
      const answer = this.authorize(user, form.get('socket_id'), form.get('channel_name'));
      return response.writeHead(answer ? 200 : 403, { 'content-type': 'application/json' }).end(JSON.stringify(answer ?? {}));
    }
    const page = this.#pages.get(pathname);
    if (page) return response.writeHead(200, { 'content-type': page.type }).end(page.body);
    if (pathname === '/favicon.ico') return response.writeHead(204).end();
    const [file, type] = FILES[pathname] ?? [];
    if (!file) return response.writeHead(404).end();
    const policy = "default-src 'self'; connect-src *; style-src 'self'; script-src 'self'";
    return response.writeHead(200, { 'content-type': type, 'content-security-policy': policy }).end(await readFile(file));
  }
}
