// The HTTP API through the npm server SDK, and by hand in the shapes of Laravel's PHP SDK.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import Pusher from 'pusher';

import { connected, eventsOf, heard, settle, subscribed } from '../harness/client.js';
import { APP, DISABLED_APP, NEWER_KEY, SMALL_APP } from '../harness/config.js';
import { broadcast, signedRequest } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

const DATA_BYTES_MAX = 10_240;
const BATCH_MAX = 10;
const ann = { id: '7', info: { name: 'Ann' } };
const bo = { id: '8', info: { name: 'Bo' } };

describe('http api', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  const refusal = (status, text) => (error) => {
    assert.ok(error instanceof Pusher.RequestError, String(error));
    assert.equal(error.status, status, error.body);
    assert.match(error.body, text);
    return true;
  };
  const get = async (path, params) => (await stage.sdk.get({ path, params })).json();

  test('a trigger that asks for info is answered with counts', async (t) => {
    const [room, plain] = [unique('presence-room'), unique('private-plain')];
    for (const user of [ann, ann, bo]) await subscribed(await connected(t, stage, { user }), room);
    await subscribed(await connected(t, stage, { user: ann }), plain);

    const both = await stage.sdk.trigger([room, plain], 'asked', {}, { info: 'subscription_count' });
    const members = await stage.sdk.trigger(room, 'asked', {}, { info: 'user_count,subscription_count' });

    assert.deepEqual(await both.json(), {
      channels: { [room]: { subscription_count: 3 }, [plain]: { subscription_count: 1 } },
    });
    assert.deepEqual(await members.json(), { channels: { [room]: { user_count: 2, subscription_count: 3 } } });
  });

  test('a batch is delivered event by event, and answers each that asks for info', async (t) => {
    const [room, plain] = [unique('presence-room'), unique('plain')];
    const inRoom = await subscribed(await connected(t, stage, { user: ann }), room);
    const onPlain = await subscribed(await connected(t, stage), plain);

    const answer = await stage.sdk.triggerBatch([
      { channel: room, name: 'first', data: { n: 1 }, info: 'user_count' },
      { channel: plain, name: 'second', data: 'text' },
      { channel: plain, name: 'third', data: { n: 3 }, info: 'subscription_count' },
    ]);

    assert.deepEqual(await answer.json(), { batch: [{ user_count: 1 }, {}, { subscription_count: 1 }] });
    assert.deepEqual(await heard(inRoom, 'first'), { n: 1 });
    await heard(onPlain, 'third');
    assert.deepEqual(eventsOf(onPlain), [{ name: 'second', data: 'text' }, { name: 'third', data: { n: 3 } }]);
  });

  test('a batch excludes a socket from one of its events only', async (t) => {
    const name = unique('private-batch');
    const pusher = await connected(t, stage, { user: ann });
    const subscription = await subscribed(pusher, name);

    const answer = await stage.sdk.triggerBatch([
      { channel: name, name: 'hidden', data: {}, socket_id: pusher.connection.socket_id },
      { channel: name, name: 'shown', data: {} },
    ]);

    assert.deepEqual(await answer.json(), {});
    await settle(stage, name, subscription);
    assert.deepEqual(eventsOf(subscription).map((event) => event.name), ['shown']);
  });

  test('the channels of the app can be listed by prefix, with their counts', async (t) => {
    const prefix = unique('presence-listed');
    await subscribed(await connected(t, stage, { user: ann }), `${prefix}-a`);
    await subscribed(await connected(t, stage, { user: ann }), `${prefix}-b`);
    await subscribed(await connected(t, stage, { user: bo }), `${prefix}-b`);
    await subscribed(await connected(t, stage), unique('unlisted'));

    assert.deepEqual(await get('/channels', { filter_by_prefix: prefix }), {
      channels: { [`${prefix}-a`]: {}, [`${prefix}-b`]: {} },
    });
    assert.deepEqual(await get('/channels', { filter_by_prefix: prefix, info: 'user_count' }), {
      channels: { [`${prefix}-a`]: { user_count: 1 }, [`${prefix}-b`]: { user_count: 2 } },
    });
    const all = await get('/channels', {});
    assert.ok(`${prefix}-a` in all.channels);
    await assert.rejects(stage.sdk.get({ path: '/channels', params: { info: 'user_count' } }), refusal(400, /presence-/));
  });

  test('one channel tells whether it is occupied, and by how many', async (t) => {
    const room = unique('presence-one');
    for (const user of [ann, ann]) await subscribed(await connected(t, stage, { user }), room);

    assert.deepEqual(await get(`/channels/${room}`, { info: 'user_count,subscription_count' }), {
      occupied: true,
      user_count: 1,
      subscription_count: 2,
    });
    const empty = await get(`/channels/${unique('empty')}`, {});
    assert.equal(empty.occupied, false);
    const wrong = stage.sdk.get({ path: `/channels/${unique('plain')}`, params: { info: 'user_count' } });
    await assert.rejects(wrong, refusal(400, /user_count/));
  });

  test('a presence channel lists its users once each', async (t) => {
    const room = unique('presence-users');
    for (const user of [ann, bo, ann]) await subscribed(await connected(t, stage, { user }), room);

    const { users } = await get(`/channels/${room}/users`, {});

    assert.deepEqual(users.sort((a, b) => a.id.localeCompare(b.id)), [{ id: '7' }, { id: '8' }]);
    await assert.rejects(stage.sdk.get({ path: `/channels/${unique('plain')}/users` }), refusal(400, /presence/));
  });

  test('a payload at the limit is delivered; one byte more is 413 and names the limit', async (t) => {
    const name = unique('large');
    const subscription = await subscribed(await connected(t, stage), name);

    await stage.sdk.trigger(name, 'full', 'x'.repeat(DATA_BYTES_MAX));
    assert.equal((await heard(subscription, 'full')).length, DATA_BYTES_MAX);

    const tooLarge = 'x'.repeat(DATA_BYTES_MAX + 1);
    await assert.rejects(stage.sdk.trigger(name, 'over', tooLarge), refusal(413, /10240/));
    const batch = [{ channel: name, name: 'fine', data: 1 }, { channel: name, name: 'over', data: tooLarge }];
    await assert.rejects(stage.sdk.triggerBatch(batch), refusal(413, /10240/));
  });

  test('a refused batch has reached nobody', async (t) => {
    const name = unique('batch');
    const subscription = await subscribed(await connected(t, stage), name);
    const event = { channel: name, name: 'counted', data: 1 };

    await stage.sdk.triggerBatch(Array.from({ length: BATCH_MAX }, () => ({ ...event })));
    const tooMany = Array.from({ length: BATCH_MAX + 1 }, () => ({ ...event }));
    await assert.rejects(stage.sdk.triggerBatch(tooMany), refusal(400, /10/));

    await settle(stage, name, subscription);
    assert.equal(eventsOf(subscription).length, BATCH_MAX);
  });

  test("laravel's broadcast reaches the others with its data untouched", async (t) => {
    const name = unique('private-user');
    const [sender, other] = await Promise.all([connected(t, stage, { user: ann }), connected(t, stage, { user: bo })]);
    const own = await subscribed(sender, name);
    const theirs = await subscribed(other, name);
    const data = { path: '/orders/1', name: 'Żółć 🔔', big: 9007199254740991, nested: { list: [1, null, true] } };

    const response = await broadcast(stage, APP, {
      name: 'App\\Events\\OrderShipped',
      data,
      channels: [name],
      socketId: sender.connection.socket_id,
    });

    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), {});
    assert.deepEqual(await heard(theirs, 'App\\Events\\OrderShipped'), data);
    await settle(stage, name, own);
    assert.deepEqual(eventsOf(own), []);
  });

  test("laravel's other requests are answered", async (t) => {
    const room = unique('presence-laravel');
    const subscription = await subscribed(await connected(t, stage, { user: ann }), room);
    const ask = async (method, route, rest) => {
      const response = await signedRequest(stage, APP, method, route, rest);
      assert.equal(response.status, 200, `${method} ${route}`);
      return response.json();
    };

    assert.deepEqual(await ask('GET', `/channels/${room}`, { params: { info: 'user_count' } }), { occupied: true, user_count: 1 });
    assert.deepEqual(await ask('GET', `/channels/${room}/users`), { users: [{ id: '7' }] });
    const batch = JSON.stringify({ batch: [{ channel: room, name: 'App\\Events\\Batched', data: '{"n":1}' }] });
    assert.deepEqual(await ask('POST', '/batch_events', { body: batch }), {});
    assert.deepEqual(await heard(subscription, 'App\\Events\\Batched'), { n: 1 });
    assert.deepEqual(await ask('POST', `/users/${unique('nobody')}/terminate_connections`, { body: '{}' }), {});
  });

  test('a request is refused unless its key, time, body and signature are right', async () => {
    const channels = [unique('signed')];
    const body = JSON.stringify({ name: 'signed', data: '{}', channels });
    const attempt = (app, changes, sent = body) => signedRequest(stage, app, 'POST', '/events', { body: sent, changes });
    const longAgo = String(Math.floor(Date.now() / 1000) - 700);

    assert.equal((await attempt(APP, {})).status, 200);
    assert.equal((await attempt(APP, { auth_signature: '0'.repeat(64) })).status, 401);
    assert.equal((await attempt(APP, { auth_key: 'nobody' })).status, 401);
    assert.equal((await attempt(APP, { body_md5: '0'.repeat(32) })).status, 401);
    assert.equal((await attempt(APP, { auth_timestamp: longAgo })).status, 401);
    assert.equal((await attempt(APP, {}, '{"name":')).status, 400);
  });

  test("one app's key opens no other app", async () => {
    const body = JSON.stringify({ name: 'stolen', data: '{}', channels: [unique('signed')] });
    const crossed = { ...SMALL_APP, key: APP.key, secret: APP.secret };

    assert.equal((await signedRequest(stage, SMALL_APP, 'POST', '/events', { body })).status, 200);
    assert.equal((await signedRequest(stage, crossed, 'POST', '/events', { body })).status, 401);
    assert.equal((await signedRequest(stage, { ...APP, id: 'nowhere' }, 'POST', '/events', { body })).status, 404);
  });

  test('a disabled app publishes nothing', async () => {
    await assert.rejects(stage.sdkFor(DISABLED_APP).trigger(unique('news'), 'late', {}), refusal(403, /disabled/i));
  });

  test('names that belong to the service cannot be published', async () => {
    for (const name of ['pusher:ping', 'pusher_internal:member_added']) {
      await assert.rejects(stage.sdk.trigger(unique('news'), name, {}), refusal(400, /pusher/));
    }
  });

  test('the older and the newer key of one app both publish and both connect', async (t) => {
    const name = unique('private-rotated');
    const next = { id: APP.id, ...NEWER_KEY };
    const older = await subscribed(await connected(t, stage, { user: ann }), name);
    const newer = await connected(t, stage, { key: NEWER_KEY.key });
    const plain = unique('rotated');
    const onNewer = await subscribed(newer, plain);

    await stage.sdkFor(next).trigger(name, 'by-newer', {});
    await stage.sdk.trigger(plain, 'by-older', {});

    await heard(older, 'by-newer');
    await heard(onNewer, 'by-older');
    const signed = stage.sdkFor(next).authorizeChannel(newer.connection.socket_id, name);
    newer.send_event('pusher:subscribe', { channel: name, ...signed });
    const answer = await newer.frames.next((frame) => frame.channel === name, 'an answer');
    assert.equal(answer.event, 'pusher_internal:subscription_succeeded');
  });

  test('the deprecated route for one channel still publishes', async (t) => {
    const name = unique('old');
    const subscription = await subscribed(await connected(t, stage), name);

    const response = await signedRequest(stage, APP, 'POST', `/channels/${name}/events`, {
      body: '{"n":1}',
      params: { name: 'old' },
    });

    assert.equal(response.status, 202);
    assert.deepEqual(await heard(subscription, 'old'), { n: 1 });
  });
});
