/**
 * A small server with an inbox, for tests that need faults which the real one does not have.
 *
 * Owns the HTTP side of `/inbox`, sessions that die with their sockets, the event stream, and as much of the Pusher protocol
 * as pusher-js needs for a private channel. Never stores: `inboxes.js` does. The invariant: whatever it answers, the real
 * server may answer. Read on in `stage.js`.
 */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

import { Inboxes, Refusal } from './inboxes.js';

export const APP = { id: '4242', key: 'bell-key', secret: 'bell-secret', token: 'a-server-token-of-more-than-32-characters' };
const CHANNEL = /^private-user\.([^.]+)$/;
const SESSION_SECS = 600;

export const sign = (text) => createHmac('sha256', APP.secret).update(text).digest('hex');

const isSignature = (auth, text) => {
  const expected = Buffer.from(`${APP.key}:${sign(text)}`);
  const given = Buffer.from(String(auth));
  return given.length === expected.length && timingSafeEqual(given, expected);
};

export class TestServer {
  /** What was asked: `{ method, path, body, status }`. */
  requests = [];
  #sockets = new Map();
  #sessions = new Map();
  #faults = [];
  #http;
  #websockets = new WebSocketServer({ noServer: true });
  #lastSocket = 0;
  sessionSecs = SESSION_SECS;
  /** While true, no WebSocket gets through. */
  isBlocked = false;

  inboxes = new Inboxes(
    (user, event, payload) => this.#push(user, event, payload),
    () => new Set([...this.#sockets.values()].flatMap(({ users }) => [...users])),
  );

  static async listen() {
    const server = new TestServer();
    server.#http = createServer((request, response) => void server.#serve(request, response));
    server.#http.on('upgrade', (request, socket, head) => server.#upgrade(request, socket, head));
    server.#http.listen(0, '127.0.0.1');
    await once(server.#http, 'listening');
    return server;
  }

  get port() {
    return this.#http.address().port;
  }

  get host() {
    return '127.0.0.1';
  }

  get origin() {
    return `http://${this.host}:${this.port}`;
  }

  async close() {
    this.disconnect();
    for (const fault of this.#faults) fault.release?.();
    this.#http.closeAllConnections();
    this.#http.close();
    await once(this.#http, 'close');
  }

  /** What the application would send; the same call on the real server is `POST /apps/{id}/notifications`. */
  async notify(notification) {
    return this.inboxes.notify(notification);
  }

  async state(user) {
    return this.inboxes.state(user);
  }

  async putCategory(name, terms) {
    this.inboxes.putCategory(name, terms);
  }

  /** The next request that `path` matches gets this answer instead: `{ status, error, headers }`, or `'reset'`. */
  fail(path, answer, times = 1) {
    this.#faults.push({ path, answer, times });
  }

  /** Requests that `path` matches are answered when the function that is returned is called. */
  hold(path) {
    const fault = { path, times: Infinity };
    fault.held = new Promise((resolve) => {
      fault.release = () => {
        fault.times = 0;
        resolve();
      };
    });
    this.#faults.push(fault);
    return fault.release;
  }

  /** Cuts every socket and stream. */
  disconnect() {
    for (const { end } of [...this.#sockets.values()]) end();
  }

  endSessions() {
    this.#sessions.clear();
  }

  /** How many requests there were to a path. */
  asked(method, path) {
    return this.requests.filter((request) => request.method === method && request.path.startsWith(path)).length;
  }

  get sockets() {
    return this.#sockets.size;
  }

  #push(user, event, payload) {
    for (const socket of this.#sockets.values()) if (socket.users.has(user)) socket.send(user, event, payload);
  }

  #open(send, end) {
    const id = `${++this.#lastSocket}.${randomBytes(4).readUInt32BE()}`;
    this.#sockets.set(id, { users: new Set(), send, end });
    return id;
  }

  #gone(id) {
    this.#sockets.delete(id);
    for (const [token, session] of this.#sessions) if (session.socket === id) this.#sessions.delete(token);
  }

  #upgrade(request, socket, head) {
    if (this.isBlocked || !request.url.startsWith(`/app/${APP.key}`)) return socket.destroy();
    this.#websockets.handleUpgrade(request, socket, head, (websocket) => {
      const say = (event, payload, channel) => websocket.send(JSON.stringify({ event, channel, data: JSON.stringify(payload) }));
      const id = this.#open((user, event, payload) => say(event, payload, `private-user.${user}`), () => websocket.terminate());
      say('pusher:connection_established', { socket_id: id, activity_timeout: 120 });
      websocket.on('close', () => this.#gone(id));
      websocket.on('message', (text) => {
        const { event, data } = JSON.parse(text);
        if (event === 'pusher:ping') return say('pusher:pong', {});
        if (event === 'pusher:unsubscribe') return this.#sockets.get(id)?.users.delete(data.channel.match(CHANNEL)?.[1]);
        if (event !== 'pusher:subscribe') return undefined;
        const user = data.channel.match(CHANNEL)?.[1];
        if (!user || !isSignature(data.auth, `${id}:${data.channel}`)) {
          return say('pusher:subscription_error', { type: 'AuthError', error: 'bad signature', status: 401 }, data.channel);
        }
        this.#sockets.get(id).users.add(user);
        say('pusher_internal:subscription_succeeded', {}, data.channel);
        return say('inbox.state', this.inboxes.state(user), data.channel);
      });
    });
  }

  async #serve(request, response) {
    const { pathname, searchParams } = new URL(request.url, this.origin);
    response.setHeader('access-control-allow-origin', '*');
    response.setHeader('access-control-expose-headers', 'retry-after');
    if (request.method === 'OPTIONS') {
      response.setHeader('access-control-allow-headers', 'authorization, content-type');
      response.setHeader('access-control-allow-methods', 'GET, POST, PUT, DELETE');
      return response.writeHead(204).end();
    }
    const chunks = await request.toArray();
    const record = { method: request.method, path: pathname, query: searchParams.toString(), status: 0 };
    this.requests.push(record);
    const fault = this.#faults.find(({ path, times }) => times > 0 && pathname.match(path));
    let answer;
    try {
      record.body = chunks.length ? JSON.parse(Buffer.concat(chunks)) : undefined;
      if (fault) fault.times--;
      if (fault?.held) await fault.held;
      if (fault?.answer === 'reset') return request.socket.destroy();
      if (fault?.answer) {
        const { status, error = 'planted', headers = {} } = fault.answer;
        record.status = status;
        return response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ error, message: 'planted by the test' }));
      }
      if (pathname === '/inbox/stream') return this.#stream(searchParams, response);
      answer = [200, this.#answer(request, pathname, searchParams, record.body)];
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      answer = [error.status, error.body];
    }
    record.status = answer[0];
    return response.writeHead(answer[0], { 'content-type': 'application/json' }).end(JSON.stringify(answer[1]));
  }

  #stream(query, response) {
    if (query.get('app_key') !== APP.key) throw new Refusal(404, 'unknown_app', 'no app has this key');
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const say = (event, payload) => response.write(`event: ${event}\ndata: ${JSON.stringify(payload)}\n\n`);
    const id = this.#open((_, event, payload) => say(event, payload), () => response.destroy());
    response.on('close', () => this.#gone(id));
    return say('connected', { socket_id: id });
  }

  #session(body) {
    let user;
    if (body.jwt) {
      const [head, claims, signature] = body.jwt.split('.');
      const expected = createHmac('sha256', APP.secret).update(`${head}.${claims}`).digest('base64url');
      if (signature !== expected) throw new Refusal(401, 'bad_jwt', 'the JWT is not signed with the app\'s secret');
      user = JSON.parse(Buffer.from(claims, 'base64url')).sub;
    } else {
      const extra = Object.keys(body).find((name) => !['socket_id', 'channel_name', 'auth', 'channel_data', 'user_data'].includes(name));
      if (extra) throw new Refusal(422, 'unknown_field', `unknown field ${extra}`, { path: `/${extra}` });
      if (!this.#sockets.has(body.socket_id)) throw new Refusal(401, 'unknown_socket', 'no such socket is connected');
      const signed = body.user_data ? `${body.socket_id}::user::${body.user_data}` : `${body.socket_id}:${body.channel_name}`;
      if (!isSignature(body.auth, signed)) throw new Refusal(401, 'bad_signature', 'the signature does not fit');
      user = body.user_data ? JSON.parse(body.user_data).id : body.channel_name.match(CHANNEL)?.[1];
    }
    const token = randomBytes(16).toString('hex');
    const socket = body.jwt ? undefined : body.socket_id;
    this.#sessions.set(token, { user, socket, endsAt: Date.now() + this.sessionSecs * 1000 });
    const open = this.#sockets.get(socket);
    // A stream has no subscription: its session says whose it is.
    if (open && !open.users.size) {
      open.users.add(user);
      setImmediate(() => open.send(user, 'inbox.state', this.inboxes.state(user)));
    }
    return { token, expires_in: this.sessionSecs, user, app: APP.id, channels: [`private-user.${user}`], ...this.inboxes.state(user) };
  }

  #answer(request, path, query, body) {
    const route = `${request.method} ${path}`;
    if (route === 'POST /inbox/session') return this.#session(body);
    const token = request.headers.authorization?.replace('Bearer ', '');
    const session = this.#sessions.get(token);
    if (!session || session.endsAt < Date.now()) throw new Refusal(401, 'bad_session', 'the session is over: open another one');
    const { user } = session;
    const { inboxes } = this;
    if (route === 'GET /inbox/state') return inboxes.state(user);
    if (route === 'GET /inbox/notifications') return inboxes.page(user, query);
    if (route === 'GET /inbox/preferences') return inboxes.preferences(user);
    if (route === 'PUT /inbox/preferences') return inboxes.setPreference(user, body);
    if (route === 'GET /inbox/push-key') return { public_key: 'BPublicKey' };
    if (route === 'POST /inbox/push-subscriptions') {
      inboxes.subscriptions(user).push(body);
      return inboxes.state(user);
    }
    if (route === 'DELETE /inbox/push-subscriptions') {
      const held = inboxes.subscriptions(user);
      held.splice(held.findIndex(({ endpoint }) => endpoint === body.endpoint), 1);
      return inboxes.state(user);
    }
    const bulk = route.match(/^POST \/inbox\/(seen|read-all|archive-read)$/)?.[1];
    if (bulk) return inboxes.bulk(user, bulk, body);
    const [, id, verb] = route.match(/^POST \/inbox\/notifications\/([^/]+)\/(\w+)$/) ?? [];
    if (id) return inboxes.mark(user, id, verb, body);
    throw new Refusal(404, 'unknown_route', `there is no ${route}`);
  }
}
