// How a connection begins, and how it is refused.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { client, connected, heard, leave, named, rawSocket, reaches, subscribed } from '../harness/client.js';
import { ACTIVITY_TIMEOUT_SECS, APP, BRIEF_APP, DISABLED_APP, SMALL_APP } from '../harness/config.js';
import { broadcast } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

const FRAME_BYTES_MAX = 64 * 1024;

describe('connection', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  // After a refusal pusher-js is `disconnected`, without a timer that would try again.
  async function refused(pusher, code) {
    const failure = await pusher.errors.next(() => true, 'the refusal');
    assert.equal(failure.error.data.code, code, JSON.stringify(failure));
    assert.equal(typeof failure.error.data.message, 'string');
    if (pusher.connection.state !== 'disconnected') await reaches(pusher, 'disconnected');
    assert.equal(pusher.connection.runner, null);
    assert.equal(pusher.connection.retryTimer ?? null, null);
  }

  test('an unknown key reaches pusher-js as 4001, and it does not try again', async (t) => {
    await refused(client(t, stage, { key: 'nobody' }), 4001);
  });

  test('a disabled app reaches pusher-js as 4003, and it does not try again', async (t) => {
    await refused(client(t, stage, { key: DISABLED_APP.key }), 4003);
  });

  test('the connection past the quota reaches pusher-js as 4004, and a free place can be taken again', async (t) => {
    const { key, connectionsMax } = SMALL_APP;
    const inside = [];
    for (let n = 0; n < connectionsMax; n += 1) inside.push(await connected(t, stage, { key }));

    await refused(client(t, stage, { key }), 4004);

    await leave(inside[0]);
    await connected(t, stage, { key });
  });

  test('every refusal is an error frame and then a close with the same code', async (t) => {
    const refusals = [
      [4001, { key: 'nobody' }],
      [4003, { key: DISABLED_APP.key }],
      [4006, { query: 'protocol=7&client=js&version=latest' }],
      [4007, { query: 'protocol=3&client=js&version=8.6.0' }],
      [4007, { query: 'protocol=seven&client=js&version=8.6.0' }],
      [4008, { query: 'client=js' }],
    ];
    for (const [code, options] of refusals) {
      const socket = await rawSocket(t, stage, options);
      const end = await socket.end();
      assert.equal(end.code, code, `${JSON.stringify(options)} ended with ${JSON.stringify(end)}`);
      const frames = socket.frames.all;
      assert.equal(frames.length, 1, JSON.stringify(frames));
      assert.equal(frames[0].event, 'pusher:error');
      assert.equal(frames[0].data.code, code);
      assert.equal(typeof frames[0].data.message, 'string');
    }
  });

  for (const query of [
    'protocol=7&client=js&version=8.6.0&flash=false',
    'protocol=5&client=pusher-websocket-java&version=2.4.4',
    'client=js&version=4.3.1',
    'protocol=7&client=swift&version=10.1&surprise=%20',
  ]) {
    test(`a client that comes with ${query} is welcome`, async (t) => {
      const socket = await rawSocket(t, stage, { query });

      const welcome = await socket.next('pusher:connection_established');

      assert.equal(typeof welcome.data, 'string');
      const { socket_id: id, ...rest } = JSON.parse(welcome.data);
      assert.match(id, /^\d+\.\d+$/);
      assert.deepEqual(rest, { activity_timeout: ACTIVITY_TIMEOUT_SECS });
      assert.deepEqual(Object.keys(welcome).sort(), ['data', 'event']);
    });
  }

  test('json in a binary frame and the pings of the websocket itself are understood', async (t) => {
    const socket = await rawSocket(t, stage);
    await socket.next('pusher:connection_established');

    socket.sendBinary({ event: 'pusher:ping', data: {} });
    await socket.next('pusher:pong');

    assert.equal((await socket.ping('bell')).toString(), 'bell');
  });

  test('a frame past the limit ends the connection with 1009', async (t) => {
    const socket = await rawSocket(t, stage);
    await socket.next('pusher:connection_established');

    socket.send('x'.repeat(FRAME_BYTES_MAX + 1));

    assert.equal((await socket.end()).code, 1009);
  });

  test('a second subscription to the same channel is acknowledged and announced to nobody', async (t) => {
    const room = unique('presence-twice');
    const [witness, socket] = [await rawSocket(t, stage), await rawSocket(t, stage)];
    for (const [each, id] of [[witness, '1'], [socket, '2']]) {
      const { socket_id: socketId } = JSON.parse((await each.next('pusher:connection_established')).data);
      each.subscribe = () => {
        const signed = stage.sdk.authorizeChannel(socketId, room, { user_id: id });
        each.send({ event: 'pusher:subscribe', data: { channel: room, ...signed } });
        return each.next('pusher_internal:subscription_succeeded');
      };
      await each.subscribe();
    }

    assert.equal(JSON.parse((await socket.subscribe()).data).presence.count, 2);
    socket.send({ event: 'client-last', channel: room, data: {} });
    await witness.next('client-last');

    assert.deepEqual(witness.frames.all.map(({ event }) => event), [
      'pusher:connection_established',
      'pusher_internal:subscription_succeeded',
      'pusher_internal:member_added',
      'client-last',
    ]);
    assert.equal(socket.frames.all.length, 3);
  });

  test('a silent client is pinged and closed with 4201, one that answers stays', async (t) => {
    const { key } = BRIEF_APP;
    const [silent, polite] = [await rawSocket(t, stage, { key }), await rawSocket(t, stage, { key })];
    const pusher = await connected(t, stage, { key });
    await silent.next('pusher:connection_established');

    for (let n = 0; n < 3; n += 1) {
      await polite.next('pusher:ping');
      polite.send({ event: 'pusher:pong', data: {} });
    }

    assert.equal((await silent.end()).code, 4201);
    assert.deepEqual(silent.frames.all.map(({ event }) => event).slice(0, 2), [
      'pusher:connection_established',
      'pusher:ping',
    ]);
    polite.send({ event: 'pusher:ping', data: {} });
    await polite.next('pusher:pong');
    assert.deepEqual(pusher.states.all, ['connected']);
  });

  test('garbage is answered with an error and does not end the connection', async (t) => {
    const socket = await rawSocket(t, stage);
    await socket.next('pusher:connection_established');

    for (const garbage of ['not json', '[]', '{"data":{}}', '{"event":7}']) {
      socket.send(garbage);
      const error = await socket.next('pusher:error');
      assert.equal(error.data.code, null, garbage);
    }
    socket.send({ event: 'pusher:ping', data: '' });
    await socket.next('pusher:pong');
    for (const ping of [{ event: 'pusher:ping' }, { event: 'pusher:ping', data: null }, { event: 'pusher:ping', data: {} }]) {
      socket.send(ping);
      await socket.next('pusher:pong');
    }
  });

  test('frames on the wire have the shapes that strict clients parse', async (t) => {
    const signer = stage.sdk;
    const socket = await rawSocket(t, stage);
    const { socket_id: id } = JSON.parse((await socket.next('pusher:connection_established')).data);
    const room = 'presence-golden';
    const member = { user_id: '7', user_info: { name: 'Ann' } };

    socket.send({ event: 'pusher:subscribe', data: { channel: 'golden', auth: '' } });
    assert.deepEqual(await socket.next('pusher_internal:subscription_succeeded'), {
      event: 'pusher_internal:subscription_succeeded',
      channel: 'golden',
      data: '{}',
    });
    assert.deepEqual(parsed(await socket.next('pusher_internal:subscription_count')), {
      event: 'pusher_internal:subscription_count',
      channel: 'golden',
      data: { subscription_count: 1 },
    });

    socket.send({ event: 'pusher:subscribe', data: { channel: room, ...signer.authorizeChannel(id, room, member) } });
    assert.deepEqual(parsed(await socket.next('pusher_internal:subscription_succeeded')), {
      event: 'pusher_internal:subscription_succeeded',
      channel: room,
      data: { presence: { count: 1, ids: ['7'], hash: { 7: { name: 'Ann' } } } },
    });

    const other = await rawSocket(t, stage);
    const { socket_id: otherId } = JSON.parse((await other.next('pusher:connection_established')).data);
    const guest = { user_id: 9 };
    other.send({ event: 'pusher:subscribe', data: { channel: room, ...signer.authorizeChannel(otherId, room, guest) } });
    const added = parsed(await socket.next('pusher_internal:member_added'));
    assert.equal(added.data.user_id, '9');
    assert.ok('user_info' in added.data, 'a member without info keeps the key');
    other.send({ event: 'client-typing', channel: room, data: { on: true } });
    assert.deepEqual(await socket.next('client-typing'), {
      event: 'client-typing',
      channel: room,
      data: { on: true },
      user_id: '9',
    });
    other.send({ event: 'pusher:unsubscribe', data: { channel: room } });
    assert.deepEqual(parsed(await socket.next('pusher_internal:member_removed')), {
      event: 'pusher_internal:member_removed',
      channel: room,
      data: { user_id: '9' },
    });

    const exact = '{"id":12345678901234567890,"slash":"\\/","bell":"\\u0007"}';
    await signer.trigger('golden', 'exact', exact);
    assert.deepEqual(await socket.next('exact'), { event: 'exact', channel: 'golden', data: exact });

    socket.send({ event: 'pusher:subscribe', data: { channel: 'cache-golden', auth: '' } });
    assert.equal((await socket.next('pusher:cache_miss')).channel, 'cache-golden');

    const user = { id: 'golden', user_info: {}, watchlist: ['8'] };
    socket.send({ event: 'pusher:signin', data: signer.authenticateUser(id, user) });
    const success = await socket.next('pusher:signin_success');
    assert.equal(typeof success.data, 'string');
    assert.deepEqual(JSON.parse(JSON.parse(success.data).user_data), user);
    const watchlist = parsed(await socket.next('pusher_internal:watchlist_events'));
    assert.deepEqual(watchlist, {
      event: 'pusher_internal:watchlist_events',
      data: { events: [{ name: 'offline', user_ids: ['8'] }] },
    });
  });

  test('a refused signature is told as a subscription error and as an error, without the right signature', async (t) => {
    const socket = await rawSocket(t, stage);
    const { socket_id: id } = JSON.parse((await socket.next('pusher:connection_established')).data);
    const channel = 'private-golden';
    const right = stage.sdk.authorizeChannel(id, channel).auth.split(':')[1];

    socket.send({ event: 'pusher:subscribe', data: { channel, auth: `${APP.key}:${'0'.repeat(64)}` } });

    const refusal = await socket.next('pusher:subscription_error');
    assert.equal(refusal.channel, channel);
    assert.equal(refusal.data.type, 'AuthError');
    assert.equal(refusal.data.status, 401);
    const error = await socket.frames.next(named('pusher:error'), 'the error');
    assert.equal(error.data.code, null);
    assert.doesNotMatch(JSON.stringify(socket.frames.all), new RegExp(right));
  });
});

describe('connection behind a path prefix', () => {
  let stage;
  before(async () => (stage = await Stage.open(() => ({ pathPrefix: '/live' }))));
  after(() => stage?.close());

  test('clients connect below it, and requests are signed with it', async (t) => {
    const name = unique('prefixed');
    const subscription = await subscribed(await connected(t, stage), name);

    const response = await broadcast(stage, APP, { name: 'arrived', data: { n: 1 }, channels: [name] });

    assert.equal(response.status, 200);
    assert.deepEqual(await heard(subscription, 'arrived'), { n: 1 });
  });
});

// Whatever the server itself has to say travels as a string that holds JSON.
function parsed(frame) {
  assert.equal(typeof frame.data, 'string', JSON.stringify(frame));
  return { ...frame, data: JSON.parse(frame.data) };
}
