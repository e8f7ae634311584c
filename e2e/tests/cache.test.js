// Cache channels: the last published event is waiting for whoever comes.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, heard, leave, named, settle, subscribed } from '../harness/client.js';
import { Stage, unique } from '../harness/stage.js';

describe('cache channels', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());
  const ann = { id: '7', info: { name: 'Ann' } };
  const bo = { id: '8', info: { name: 'Bo' } };

  for (const prefix of ['cache-price', 'private-cache-price', 'presence-cache-price']) {
    test(`an empty ${prefix} says so, and a later subscriber gets the last event at once`, async (t) => {
      const name = unique(prefix);
      const early = await subscribed(await connected(t, stage, { user: ann }), name);
      await early.events.next(named('pusher:cache_miss'), 'the miss');

      await stage.sdk.trigger(name, 'price', { cents: 100 });
      await stage.sdk.trigger(name, 'price', { cents: 250 });
      await heard(early, 'price');
      await heard(early, 'price');
      const late = await subscribed(await connected(t, stage, { user: bo }), name);
      await settle(stage, name, late);

      const story = late.events.all.map((event) => event.name).filter((event) => !/_count$|member_/.test(event));
      assert.deepEqual(story, ['pusher:subscription_succeeded', 'price', 'settled']);
      assert.deepEqual(await heard(late, 'price'), { cents: 250 });
    });
  }

  test('the event outlives the last subscriber', async (t) => {
    const name = unique('cache-kept');
    const first = await connected(t, stage);
    await subscribed(first, name);
    await stage.sdk.trigger(name, 'kept', { n: 1 });
    await leave(first);

    const second = await subscribed(await connected(t, stage), name);

    assert.deepEqual(await heard(second, 'kept'), { n: 1 });
  });

  test('a client event is not remembered', async (t) => {
    const name = unique('private-cache-whisper');
    const first = await subscribed(await connected(t, stage, { user: ann }), name);
    const second = await subscribed(await connected(t, stage, { user: bo }), name);
    first.channel.trigger('client-typing', { on: true });
    await heard(second, 'client-typing');

    const third = await subscribed(await connected(t, stage, { user: ann }), name);

    await third.events.next(named('pusher:cache_miss'), 'the miss');
  });

  test('a plain channel remembers nothing and misses nothing', async (t) => {
    const name = unique('price');
    await stage.sdk.trigger(name, 'price', { cents: 1 });

    const subscription = await subscribed(await connected(t, stage), name);
    await settle(stage, name, subscription);

    const story = subscription.events.all.map((event) => event.name).filter((event) => !event.endsWith('_count'));
    assert.deepEqual(story, ['pusher:subscription_succeeded', 'settled']);
  });

  test('the api shows what is remembered', async () => {
    const name = unique('cache-asked');
    await stage.sdk.trigger(name, 'asked', { n: 1 });

    const answer = await (await stage.sdk.get({ path: `/channels/${name}`, params: { info: 'cache' } })).json();

    assert.equal(answer.cache.data, '{"n":1}');
    assert.ok(answer.cache.ttl > 0 && answer.cache.ttl <= 1800, `ttl ${answer.cache.ttl}`);
  });
});
