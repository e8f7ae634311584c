// An operator restarts the server: clients are told to come back, and find everything as it was.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { connected, heard, named, rawSocket, reaches, signedIn, subscribed } from '../harness/client.js';
import { APP } from '../harness/config.js';
import { Stage, unique } from '../harness/stage.js';
import { within } from '../harness/wait.js';

const ann = { id: '7', info: { name: 'Ann' } };
// pusher-js that comes while nobody listens tries again after 15 seconds.
const COME_BACK_MS = 25_000;

describe('restart', () => {
  let stage;
  beforeEach(async () => (stage = await Stage.open()));
  afterEach(() => stage?.close());

  test('pusher-js comes back to a restarted server with its channels, members and user', async (t) => {
    const [orders, room] = [unique('private-orders'), unique('presence-room')];
    const pusher = await signedIn(t, stage, { user: ann });
    const subscription = await subscribed(pusher, orders);
    const inRoom = await subscribed(pusher, room);
    const close = new Promise((resolve) => pusher.connection.connection.transport.bind('closed', resolve));

    await stage.server.stop();
    assert.equal((await within(close, () => 'the socket to close')).code, 4200);
    await stage.server.startAgain();

    await reaches(pusher, 'connected', COME_BACK_MS);
    await pusher.frames.next(named('pusher:signin_success'), 'the signin');
    await heard(subscription, 'pusher:subscription_succeeded');
    await heard(inRoom, 'pusher:subscription_succeeded');
    assert.equal(inRoom.channel.members.count, 1);
    await stage.sdk.trigger(orders, 'shipped', { id: 5 });
    assert.deepEqual(await heard(subscription, 'shipped'), { id: 5 });
    await stage.sdk.sendToUser(ann.id, 'note', {});
    await pusher.events.next(named('note'), 'the event to the user');
  });

  test('every socket ends with 4200 and a clean close frame, idle ones too', async (t) => {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => rawSocket(t, stage)));
    for (const socket of sockets) await socket.next('pusher:connection_established');

    await stage.server.stop();

    for (const socket of sockets) assert.equal((await socket.end()).code, 4200);
  });

  test('a client that is told to come back does not find the server that leaves', async (t) => {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => rawSocket(t, stage)));

    const stopped = stage.server.stop();
    const ends = sockets.map((socket) => socket.end());
    assert.equal((await Promise.race(ends)).code, 4200);
    await assert.rejects(rawSocket(t, stage), { code: 'ECONNREFUSED' });
    assert.ok(sockets.some((socket) => socket.closed.all.length === 0), 'the last are told after the first');

    await stopped;
    for (const end of await Promise.all(ends)) assert.equal(end.code, 4200);
  });

  test('a server without clients leaves at once', async () => {
    const asked = Date.now();
    await stage.server.stop();
    assert.ok(Date.now() - asked < 3_000, `${Date.now() - asked} ms`);
  });

  test('what was published just before the end is delivered', async (t) => {
    const name = unique('last');
    const subscription = await subscribed(await connected(t, stage), name);

    await stage.sdk.trigger(name, 'goodbye', { key: APP.key });
    await stage.server.stop();

    assert.deepEqual(await heard(subscription, 'goodbye'), { key: APP.key });
  });
});

describe('restart behind a load balancer', () => {
  let stage;
  beforeEach(async () => (stage = await Stage.open(() => ({ readyDelaySecs: 2 }))));
  afterEach(() => stage?.close());

  test('a server that is about to leave says so first, and takes clients until it leaves', async (t) => {
    const stopped = stage.server.stop();
    await stage.server.becomesUnready();
    const socket = await rawSocket(t, stage);
    await socket.next('pusher:connection_established');

    assert.equal((await socket.end()).code, 4200);
    await stopped;
  });
});
