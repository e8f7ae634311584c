// A publisher that has gone wrong, with the server SDK that it uses: it is told that all is well, and nobody hears twice.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, eventsOf, heard, settle, subscribed } from '../harness/client.js';
import { APP } from '../harness/config.js';
import { signedRequest } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

const NOTIFICATION = 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated';
const REPETITIONS = 50;
const ann = { id: '7', info: { name: 'Ann' } };
const GUARD = {
  dedupe: [{ event: 'order.shipped', key: '/order_id' }],
  limits: [
    { event: 'progress', per: 'channel', events: 1, on_exceed: 'collapse' },
    { event: 'import', per: 'app', events: 1, per_secs: 60, on_exceed: 'refuse' },
  ],
};

describe('guard', () => {
  let stage;
  before(async () => (stage = await Stage.open(() => ({ guard: GUARD }))));
  after(() => stage?.close());

  const outcome = (response) => response.headers.get('x-campanile-outcome');
  const dataOf = (subscription) => eventsOf(subscription).map(({ data }) => data);

  test('a job that is tried again sends its notification once, with no rule for it', async (t) => {
    const name = unique('private-App.Models.User');
    const subscription = await subscribed(await connected(t, stage, { user: ann }), name);
    const [first, second] = ['a', 'b'].map((id) => ({ id, type: 'App\\Notifications\\Shipped', order: 5 }));

    const outcomes = [];
    for (const notification of [first, first, second]) {
      outcomes.push(outcome(await stage.sdk.trigger(name, NOTIFICATION, notification)));
    }

    assert.deepEqual(outcomes, [null, 'duplicate', null]);
    await settle(stage, name, subscription);
    assert.deepEqual(dataOf(subscription), [first, second]);
  });

  test('a loop is one delivery, and the rest are counted', async (t) => {
    const name = unique('orders');
    const subscription = await subscribed(await connected(t, stage), name);
    const counted = async () =>
      (await (await signedRequest(stage, APP, 'GET', '/guard')).json()).outcomes.duplicate;
    const before = await counted();

    const looping = Array.from({ length: REPETITIONS }, (_, time) =>
      stage.sdk.trigger(name, 'order.shipped', { order_id: 5, time }));
    const outcomes = (await Promise.all(looping)).map(outcome);

    assert.equal(outcomes.filter((told) => told === null).length, 1);
    assert.equal(outcomes.filter((told) => told === 'duplicate').length, REPETITIONS - 1);
    assert.equal((await counted()) - before, REPETITIONS - 1);
    await settle(stage, name, subscription);
    assert.equal(eventsOf(subscription).length, 1);
  });

  test('a batch is told of each event, and only new ones are delivered', async (t) => {
    const name = unique('batch');
    const subscription = await subscribed(await connected(t, stage), name);
    const shipped = (order) => ({ channel: name, name: 'order.shipped', data: { order_id: order } });

    const first = await stage.sdk.triggerBatch([shipped(1), shipped(2)]);
    const second = await stage.sdk.triggerBatch([shipped(2), shipped(3)]);

    assert.deepEqual([outcome(first), outcome(second)], [null, 'duplicate, published']);
    await settle(stage, name, subscription);
    assert.deepEqual(dataOf(subscription), [1, 2, 3].map((order) => ({ order_id: order })));
  });

  test('of what comes too fast the last arrives, and what is to be refused is', async (t) => {
    const name = unique('progress');
    const subscription = await subscribed(await connected(t, stage), name);

    const outcomes = [];
    for (const percent of [0, 50, 100]) outcomes.push(outcome(await stage.sdk.trigger(name, 'progress', percent)));

    assert.deepEqual(outcomes, [null, 'collapsed', 'collapsed']);
    assert.deepEqual([await heard(subscription, 'progress'), await heard(subscription, 'progress')], [0, 100]);
    await stage.sdk.trigger(name, 'import', {});
    await assert.rejects(stage.sdk.trigger(name, 'import', {}), { status: 429 });
  });
});
