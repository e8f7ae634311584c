// Webhooks: each request verified by the npm server SDK before it counts.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';

import { connected, heard, leave, rawSocket, settle, subscribed } from '../harness/client.js';
import { APP } from '../harness/config.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: '7', info: { name: 'Ann' } };
const bo = { id: '8', info: { name: 'Bo' } };
const RETRY_MS = 20_000;

describe('webhooks', { concurrency: true }, () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  const hook = async (name, channel) => {
    const match = (entry) => entry.name === name && entry.event.channel === channel;
    return stage.application.webhooks.next(match, `${name} of ${channel}`);
  };
  /** An event without its id, which has a test of its own. */
  const told = async (name, channel) => {
    const { event_id: id, ...event } = (await hook(name, channel)).event;
    assert.match(id, /^[0-9a-f]{32}$/);
    return event;
  };
  const joinedSocket = async (t, room, id) => {
    const socket = await rawSocket(t, stage);
    const { socket_id: socketId } = JSON.parse((await socket.next('pusher:connection_established')).data);
    socket.send({ event: 'pusher:subscribe', data: { channel: room, ...stage.sdk.authorizeChannel(socketId, room, { user_id: id }) } });
    await socket.next('pusher_internal:subscription_succeeded');
    return socket;
  };
  const hooksOf = (channel) => stage.application.webhooks.all.filter(({ event }) => event.channel === channel).map(({ name }) => name);

  test('a channel is occupied by its first subscriber and vacated after its last', async (t) => {
    const name = unique('hooked');
    const [first, second] = await Promise.all([connected(t, stage), connected(t, stage)]);
    await subscribed(first, name);
    await subscribed(second, name);
    assert.deepEqual(await told('channel_occupied', name), { name: 'channel_occupied', channel: name });

    await leave(first);
    await leave(second);
    assert.deepEqual(await told('channel_vacated', name), { name: 'channel_vacated', channel: name });
    assert.deepEqual(hooksOf(name).filter((kind) => kind !== 'subscription_count'), ['channel_occupied', 'channel_vacated']);
  });

  test('a member is added once for both tabs and removed once after both', async (t) => {
    const room = unique('presence-hooked');
    await subscribed(await connected(t, stage, { user: ann }), room);
    const tabs = [await connected(t, stage, { user: bo }), await connected(t, stage, { user: bo })];
    for (const tab of tabs) await subscribed(tab, room);
    for (const tab of tabs) await leave(tab);

    const removed = await told('member_removed', room);

    assert.deepEqual(removed, { name: 'member_removed', channel: room, user_id: '8' });
    const members = stage.application.webhooks.all.filter(({ name, event }) => event.channel === room && name.startsWith('member_'));
    assert.deepEqual(members.map(({ event }) => `${event.name} ${event.user_id}`), [
      'member_added 7',
      'member_added 8',
      'member_removed 8',
    ]);
  });

  test('a member who vanishes is removed after the grace, here and in the webhooks', async (t) => {
    const room = unique('presence-vanished');
    const watching = await subscribed(await connected(t, stage, { user: ann }), room);
    const lost = await joinedSocket(t, room, '8');

    lost.vanish();

    assert.deepEqual((await heard(watching, 'pusher:member_removed')).id, '8');
    assert.equal((await hook('member_removed', room)).event.user_id, '8');
  });

  test('a member who vanishes and returns within the grace has never left', async (t) => {
    const room = unique('presence-returned');
    const watching = await subscribed(await connected(t, stage, { user: ann }), room);
    const lost = await joinedSocket(t, room, '8');
    lost.vanish();
    await joinedSocket(t, room, '8');

    // A member who vanishes later is removed later: by then a removal of the first would have come.
    (await joinedSocket(t, room, '9')).vanish();
    await hook('member_removed', room);

    assert.deepEqual(
      stage.application.webhooks.all.filter(({ event }) => event.channel === room).map(({ event }) => `${event.name} ${event.user_id}`),
      ['channel_occupied undefined', 'member_added 7', 'member_added 8', 'member_added 9', 'member_removed 9'],
    );
    const told = watching.events.all.filter(({ name }) => name.startsWith('pusher:member_')).map(({ name, data }) => `${name} ${data.id}`);
    assert.deepEqual(told, ['pusher:member_added 8', 'pusher:member_added 9', 'pusher:member_removed 9']);
  });

  test('a channel whose only subscriber vanishes is vacated, and its member removed', async (t) => {
    const room = unique('presence-alone');
    (await joinedSocket(t, room, '8')).vanish();

    await hook('member_removed', room);
    await hook('channel_vacated', room);
  });

  test('a page reload is no departure', async (t) => {
    const room = unique('presence-reloaded');
    const before = await connected(t, stage, { user: ann });
    await subscribed(before, room);
    await leave(before);
    const reloaded = await connected(t, stage, { user: ann });
    await subscribed(reloaded, room);

    // Another channel that is left later is vacated later: by then a departure here would have been told.
    const marker = unique('marker');
    const visitor = await connected(t, stage);
    await subscribed(visitor, marker);
    await leave(visitor);
    await hook('channel_vacated', marker);

    assert.deepEqual(hooksOf(room), ['channel_occupied', 'member_added']);
  });

  test('a client event is told with its sender', async (t) => {
    for (const [name, user_id] of [[unique('private-said'), undefined], [unique('presence-said'), '7']]) {
      const pusher = await connected(t, stage, { user: ann });
      const sender = await subscribed(pusher, name);
      const listener = await subscribed(await connected(t, stage, { user: bo }), name);

      sender.channel.trigger('client-said', { text: 'ding' });
      await heard(listener, 'client-said');

      const event = await told('client_event', name);
      assert.deepEqual({ ...event, data: JSON.parse(event.data) }, {
        name: 'client_event',
        channel: name,
        event: 'client-said',
        data: { text: 'ding' },
        socket_id: pusher.connection.socket_id,
        ...(user_id && { user_id }),
      });
    }
  });

  test('a cache miss is told once for subscribers who miss together', async (t) => {
    const name = unique('cache-hooked');
    const clients = await Promise.all(Array.from({ length: 5 }, () => connected(t, stage)));
    const subscriptions = await Promise.all(clients.map((pusher) => subscribed(pusher, name)));

    assert.deepEqual(await told('cache_miss', name), { name: 'cache_miss', channel: name });
    await settle(stage, name, ...subscriptions);
    const marker = unique('cache-marker');
    await subscribed(clients[0], marker);
    await hook('cache_miss', marker);
    assert.equal(hooksOf(name).filter((kind) => kind === 'cache_miss').length, 1);
  });

  test('subscription counts are told', async (t) => {
    const name = unique('counted');
    await subscribed(await connected(t, stage), name);

    assert.deepEqual(await told('subscription_count', name), {
      name: 'subscription_count',
      channel: name,
      subscription_count: 1,
    });
  });

  test('no two events share an id', async (t) => {
    const name = unique('hooked');
    await subscribed(await connected(t, stage), name);
    await hook('channel_occupied', name);
    const ids = stage.application.webhooks.all.map(({ event }) => event.event_id);
    assert.equal(new Set(ids).size, ids.length);
  });

  test('every request is signed, dated and carries the configured headers', async (t) => {
    const name = unique('hooked');
    await subscribed(await connected(t, stage), name);
    const { request } = await hook('channel_occupied', name);

    assert.equal(request.headers['x-pusher-key'], APP.key);
    assert.equal(request.headers['content-type'], 'application/json');
    assert.equal(request.headers['x-custom'], 'yes');
    const age = Date.now() - JSON.parse(request.rawBody).time_ms;
    assert.ok(age >= 0 && age < 10_000, `${age} ms old`);
    assert.ok(stage.application.webhooks.all.every((entry) => entry.request.valid), 'an unsigned webhook arrived');
  });
});

describe('webhooks to an application in maintenance', () => {
  let stage;
  beforeEach(async () => {
    stage = await Stage.open();
    stage.application.inMaintenance = true;
  });
  afterEach(() => stage?.close());

  const firstOf = (name) => stage.application.webhooks.next(({ event }) => event.channel === name, name, RETRY_MS);

  test('are sent again until it takes them', async (t) => {
    const name = unique('private-late');
    const refused = stage.application.refusedWebhooks.next(() => true, 'a refused webhook');
    await subscribed(await connected(t, stage, { user: ann }), name);
    await refused;

    stage.application.inMaintenance = false;

    assert.equal((await firstOf(name)).name, 'channel_occupied');
  });

  test('outlive a restart of the server', async (t) => {
    const name = unique('private-kept');
    const refused = stage.application.refusedWebhooks.next(() => true, 'a refused webhook');
    const pusher = await connected(t, stage, { user: ann });
    await subscribed(pusher, name);
    await refused;
    pusher.disconnect();

    await stage.server.stop();
    stage.application.inMaintenance = false;
    await stage.server.startAgain();

    assert.equal((await firstOf(name)).name, 'channel_occupied');
  });
});

describe('webhooks of some channels', () => {
  let stage;
  before(async () => (stage = await Stage.open(() => ({ webhookPrefix: 'private-' }))));
  after(() => stage?.close());

  test('only channels with the prefix are told', async (t) => {
    const pusher = await connected(t, stage, { user: ann });
    const [unheard, heardOf] = [unique('public'), unique('private-orders')];
    await subscribed(pusher, unheard);
    await subscribed(pusher, heardOf);

    await stage.application.webhooks.next(({ event }) => event.channel === heardOf, 'the private channel');

    const channels = new Set(stage.application.webhooks.all.map(({ event }) => event.channel));
    assert.deepEqual([...channels], [heardOf]);
  });
});
