/**
 * pusher-js as an application uses it, with everything that it hears kept in order.
 */

import PusherClient from 'pusher-js';
import WebSocket from 'ws';

import { signedHeaders } from './application.js';
import { APP } from './config.js';
import { Recorder, within } from './wait.js';

/** A pusher-js client that has been told where to go; it is disconnected when the test ends. */
export function client(t, stage, { user, key = APP.key, ...options } = {}) {
  const { server, application } = stage;
  const headers = signedHeaders(user);
  const pusher = new PusherClient(key, {
    cluster: 'unused',
    wsHost: server.host,
    wsPort: server.port,
    wssPort: server.port,
    wsPath: server.pathPrefix,
    forceTLS: server.secure,
    enabledTransports: ['ws', 'wss'],
    channelAuthorization: { transport: 'ajax', endpoint: `${application.origin}/broadcasting/auth`, headers },
    userAuthentication: { transport: 'ajax', endpoint: `${application.origin}/broadcasting/user-auth`, headers },
    ...options,
  });
  t.after(() => pusher.disconnect());
  pusher.frames = new Recorder('the connection');
  pusher.connection.bind('message', (frame) => pusher.frames.add(frame));
  pusher.states = new Recorder('the connection state');
  pusher.connection.bind('state_change', ({ current }) => pusher.states.add(current));
  pusher.errors = new Recorder('the connection errors');
  pusher.connection.bind('error', (error) => pusher.errors.add(error));
  return pusher;
}

/** The same, connected. */
export async function connected(t, stage, options) {
  const pusher = client(t, stage, options);
  await reaches(pusher, 'connected');
  return pusher;
}

/** The same, connected and signed in as `options.user`. */
export async function signedIn(t, stage, options) {
  const pusher = await connected(t, stage, options);
  pusher.events = new Recorder('the user');
  pusher.user.bind_global((name, data) => pusher.events.add({ name, data }));
  pusher.watched = new Recorder('the watchlist');
  pusher.user.watchlist.bind_global((name, { user_ids: ids }) => pusher.watched.add({ name, ids }));
  pusher.signin();
  await pusher.frames.next(named('pusher:signin_success'), 'pusher:signin_success');
  return pusher;
}

/** Waits for the next change to `state`. */
export function reaches(pusher, state, ms) {
  return pusher.states.next((current) => current === state, `state ${state}`, ms);
}

/** Subscribes, and waits for success; `events` holds all that the channel emits, in order. */
export async function subscribed(pusher, name) {
  const { channel, events } = subscribing(pusher, name);
  const answer = await events.next(
    (event) => /^pusher:subscription_(succeeded|error)$/.test(event.name),
    `an answer to the subscription of ${name}`,
  );
  if (answer.name !== 'pusher:subscription_succeeded') {
    throw new Error(`subscription of ${name} was refused: ${JSON.stringify(answer.data)}`);
  }
  return { channel, events };
}

/** Subscribes without waiting. */
export function subscribing(pusher, name) {
  const channel = pusher.subscribe(name);
  const events = new Recorder(`channel ${name}`);
  channel.bind_global((event, data) => events.add({ name: event, data: structuredClone(plain(data)) }));
  return { channel, events };
}

/** Waits for the event called `name`, and returns its data. */
export async function heard(subscription, name) {
  return (await subscription.events.next(named(name), `the event ${name}`)).data;
}

/**
 * Publishes a last event to the channel and waits until it has come to every given subscription:
 * whatever was on its way before has then arrived too.
 */
export async function settle(stage, name, ...subscriptions) {
  await stage.sdk.trigger(name, 'settled', {});
  await Promise.all(subscriptions.map((subscription) => heard(subscription, 'settled')));
}

/** The names of the application's own events that a subscription has heard, without `settle`'s. */
export function eventsOf(subscription) {
  return subscription.events.all.filter(({ name }) => !/^pusher:|^settled$/.test(name));
}

/** Leaves as a closed tab does, and waits until the socket is gone. */
export async function leave(pusher) {
  const closed = new Promise((resolve) => pusher.connection.connection.transport.bind('closed', resolve));
  pusher.disconnect();
  await within(closed, () => 'the socket to close');
}

/** A bare WebSocket: for what must be compared as it is on the wire. */
export async function rawSocket(t, stage, { key = APP.key, query = 'protocol=7&client=js&version=8.6.0&flash=false', ...options } = {}) {
  const socket = new WebSocket(`ws://${stage.server.host}:${stage.server.port}${stage.server.pathPrefix}/app/${key}?${query}`, options);
  t.after(() => socket.terminate());
  const frames = new Recorder('the socket');
  const closed = new Recorder('the end of the socket');
  socket.on('message', (bytes, isBinary) => frames.add(isBinary ? bytes : JSON.parse(bytes.toString('utf8'))));
  socket.on('error', () => {}); // a close code follows
  socket.on('close', (code, reason) => closed.add({ code, reason: reason.toString('utf8') }));
  await within(
    new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject)),
    () => 'the upgrade',
  );
  return {
    frames,
    closed,
    send: (frame) => socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    sendBinary: (frame) => socket.send(Buffer.from(JSON.stringify(frame))),
    /** A ping of the WebSocket protocol itself. */
    ping: async (payload) => {
      const pong = new Promise((resolve) => socket.once('pong', resolve));
      socket.ping(payload);
      return within(pong, () => 'the pong');
    },
    /** What was negotiated, as `Sec-WebSocket-Extensions` has it. */
    extensions: socket.extensions,
    /** How many bytes have come over the line, the upgrade included. */
    received: () => socket._socket.bytesRead,
    next: (event) => frames.next((frame) => frame.event === event, event),
    /** Drops the line without a close frame, as a lost network does. */
    vanish: () => socket.terminate(),
    end: () => closed.next(() => true, 'the close frame'),
  };
}

export function named(name) {
  return (entry) => (entry.event ?? entry.name) === name;
}

// pusher-js hands out its live `Members` for a presence success; keep what it said at that moment.
function plain(data) {
  if (typeof data?.each !== 'function') return data;
  const { members, count, myID, me } = data;
  return { members, count, myID, me };
}
