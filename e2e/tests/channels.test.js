// Public and private channels through pusher-js, published to by the npm server SDK.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, eventsOf, heard, leave, named, reaches, settle, subscribed, subscribing } from '../harness/client.js';
import { Stage, unique } from '../harness/stage.js';

describe('channels', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());
  const ann = { id: '7', info: { name: 'Ann' } };

  test('an http trigger fans out to every subscriber and to nobody else', async (t) => {
    const news = unique('news');
    const [first, second, stranger] = await Promise.all([connected(t, stage), connected(t, stage), connected(t, stage)]);
    const subscriptions = await Promise.all([subscribed(first, news), subscribed(second, news)]);
    const elsewhere = await subscribed(stranger, unique('weather'));

    const response = await stage.sdk.trigger(news, 'published', { title: 'Bells', at: 12 });

    assert.deepEqual(await response.json(), {});
    for (const subscription of subscriptions) {
      assert.deepEqual(await heard(subscription, 'published'), { title: 'Bells', at: 12 });
    }
    await settle(stage, elsewhere.channel.name, elsewhere);
    assert.deepEqual(eventsOf(elsewhere), []);
  });

  test('one trigger reaches a hundred channels', async (t) => {
    const names = Array.from({ length: 100 }, (_, i) => unique(`many-${i}`));
    const pusher = await connected(t, stage);
    const subscriptions = await Promise.all(names.map((name) => subscribed(pusher, name)));

    await stage.sdk.trigger(names, 'wide', { n: 1 });

    for (const subscription of subscriptions) assert.deepEqual(await heard(subscription, 'wide'), { n: 1 });
  });

  test('events arrive in the order in which they were published', async (t) => {
    const name = unique('ordered');
    const subscription = await subscribed(await connected(t, stage), name);

    for (let n = 0; n < 20; n += 1) await stage.sdk.trigger(name, 'step', n);
    await settle(stage, name, subscription);

    assert.deepEqual(eventsOf(subscription).map(({ data }) => data), Array.from({ length: 20 }, (_, n) => n));
  });

  test('a client subscribes to a private channel', async (t) => {
    const orders = unique('private-orders');
    const pusher = await connected(t, stage, { user: ann });

    const subscription = await subscribed(pusher, orders);
    await stage.sdk.trigger(orders, 'App\\Events\\OrderShipped', { id: 5 });

    assert.deepEqual(await heard(subscription, 'App\\Events\\OrderShipped'), { id: 5 });
    const asked = await stage.application.authorizations.next(({ form }) => form.channel_name === orders);
    assert.deepEqual(asked.form, { socket_id: pusher.connection.socket_id, channel_name: orders });
    assert.match(pusher.connection.socket_id, /^\d+\.\d+$/);
  });

  test('an application that refuses a private channel surfaces as a subscription error', async (t) => {
    const { events } = subscribing(await connected(t, stage, { user: ann }), unique('private-forbidden'));

    const error = await events.next(named('pusher:subscription_error'), 'the error');

    assert.equal(error.data.type, 'AuthError');
    assert.equal(error.data.status, 403);
  });

  test('a server that refuses a signature surfaces as a subscription error and keeps the connection', async (t) => {
    const pusher = await connected(t, stage, { user: ann });
    const forged = subscribing(pusher, unique('private-forged'));

    const error = await forged.events.next(named('pusher:subscription_error'), 'the error');

    assert.equal(error.data.type, 'AuthError');
    assert.equal(error.data.status, 401);
    assert.equal(typeof error.data.error, 'string');
    assert.equal(forged.channel.subscribed, false);
    await subscribed(pusher, unique('private-good'));
    assert.equal(pusher.connection.state, 'connected');
  });

  test('nothing arrives after an unsubscribe, and a second subscription works', async (t) => {
    const name = unique('left');
    const witness = await subscribed(await connected(t, stage), name);
    const pusher = await connected(t, stage);
    const before = await subscribed(pusher, name);

    const counts = (wanted) => ({ name: event, data }) => event === 'pusher:subscription_count' && data.subscription_count === wanted;
    await witness.events.next(counts(2), 'the count of both');
    // The witness may have been counted alone before.
    const earlier = new Set(witness.events.all);
    pusher.unsubscribe(name);
    await witness.events.next((event) => counts(1)(event) && !earlier.has(event), 'the count after the unsubscribe');
    await stage.sdk.trigger(name, 'missed', {});
    await heard(witness, 'missed');
    const again = await subscribed(pusher, name);
    await settle(stage, name, again, witness);

    assert.deepEqual(eventsOf(again), []);
    assert.equal(before.events.all.some(({ name: event }) => event === 'missed'), false);
  });

  test('the excluded socket alone does not hear the event', async (t) => {
    const name = unique('private-others');
    const [sender, other] = await Promise.all([connected(t, stage, { user: ann }), connected(t, stage, { user: ann })]);
    const own = await subscribed(sender, name);
    const theirs = await subscribed(other, name);

    await stage.sdk.trigger(name, 'moved', { x: 1 }, { socket_id: sender.connection.socket_id });

    assert.deepEqual(await heard(theirs, 'moved'), { x: 1 });
    await settle(stage, name, own);
    assert.deepEqual(eventsOf(own), []);
  });

  test('subscribers are told how many they are, on every kind but presence', async (t) => {
    for (const name of [unique('counted'), unique('private-counted'), unique('cache-counted')]) {
      const [stays, goes] = await Promise.all([connected(t, stage, { user: ann }), connected(t, stage, { user: ann })]);
      const watching = await subscribed(stays, name);
      assert.deepEqual(await heard(watching, 'pusher:subscription_count'), { subscription_count: 1 });
      await subscribed(goes, name);
      assert.deepEqual(await heard(watching, 'pusher:subscription_count'), { subscription_count: 2 });
      await leave(goes);
      assert.deepEqual(await heard(watching, 'pusher:subscription_count'), { subscription_count: 1 });
      assert.equal(watching.channel.subscriptionCount, 1);
    }
    const presence = unique('presence-uncounted');
    const watching = await subscribed(await connected(t, stage, { user: ann }), presence);
    await settle(stage, presence, watching);
    assert.equal(watching.events.all.some(({ name }) => name === 'pusher:subscription_count'), false);
  });

  test('a client that pings an idle connection keeps it', async (t) => {
    const pusher = await connected(t, stage, { activityTimeout: 200, pongTimeout: 2_000 });

    for (let n = 0; n < 3; n += 1) await pusher.frames.next(named('pusher:pong'), 'the pong');

    assert.equal(pusher.connection.state, 'connected');
    assert.deepEqual(pusher.states.all, ['connected']);
  });

  test('a client that disconnects and connects again gets its channels back under a new socket id', async (t) => {
    const name = unique('private-back');
    const pusher = await connected(t, stage, { user: ann });
    const subscription = await subscribed(pusher, name);
    const oldId = pusher.connection.socket_id;

    await leave(pusher);
    pusher.connect();
    await reaches(pusher, 'connected');
    await heard(subscription, 'pusher:subscription_succeeded');
    await stage.sdk.trigger(name, 'welcome', 'back');

    assert.equal(await heard(subscription, 'welcome'), 'back');
    assert.notEqual(pusher.connection.socket_id, oldId);
  });
});
