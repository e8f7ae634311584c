// A publisher that heard no answer repeats its request with the same Idempotency-Key.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { connected, eventsOf, settle, subscribed } from '../harness/client.js';
import { APP, BRIEF_APP, NEWER_KEY, OLDER_KEY } from '../harness/config.js';
import { signedRequest } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';
import { within } from '../harness/wait.js';

const POLL_MS = 100;
const ann = { id: '7', info: { name: 'Ann' } };

describe('idempotency', () => {
  let stage;
  before(async () => (stage = await Stage.open(() => ({ keys: [OLDER_KEY] }))));
  after(() => stage?.close());

  /** Publishes as `app` and returns all that the publisher is told. */
  const publish = async (on, key, body, { route = '/events', app = APP } = {}) => {
    const headers = key === undefined ? {} : { 'Idempotency-Key': key };
    const answer = await signedRequest(on, app, 'POST', route, { body: JSON.stringify(body), headers });
    const replayed = answer.headers.get('idempotent-replayed');
    return { status: answer.status, replayed, body: await answer.text(), headers: answer.headers };
  };
  const event = (channel, data = 'once', more = {}) => ({ name: 'shipped', channel, data, ...more });
  const namesAndData = (subscription) => eventsOf(subscription).map(({ name, data }) => [name, data]);

  test('the same request with the same key is delivered once, and answered alike', async (t) => {
    const [name, key] = [unique('once'), unique('key')];
    const subscription = await subscribed(await connected(t, stage), name);

    const answers = [];
    for (let time = 0; time < 3; time += 1) answers.push(await publish(stage, key, event(name)));

    assert.deepEqual(answers.map(({ status, body }) => [status, body]), Array(3).fill([200, '{}']));
    assert.deepEqual(answers.map(({ replayed }) => replayed), [null, 'true', 'true']);
    await settle(stage, name, subscription);
    assert.deepEqual(namesAndData(subscription), [['shipped', 'once']]);
  });

  test('without a key the same request is delivered each time', async (t) => {
    const name = unique('twice');
    const subscription = await subscribed(await connected(t, stage), name);

    for (let time = 0; time < 2; time += 1) {
      const { status, replayed } = await publish(stage, undefined, event(name));
      assert.deepEqual([status, replayed], [200, null]);
    }

    await settle(stage, name, subscription);
    assert.deepEqual(namesAndData(subscription), Array(2).fill(['shipped', 'once']));
  });

  test('requests that race with one key are delivered once, and every answer is the first or 409', async (t) => {
    const [name, key] = [unique('raced'), unique('key')];
    const subscription = await subscribed(await connected(t, stage), name);

    const racing = Array.from({ length: 20 }, () => publish(stage, key, event(name)));
    const answers = await Promise.all(racing);

    assert.equal(answers.filter(({ status, replayed }) => status === 200 && replayed === null).length, 1);
    for (const { status, replayed, body, headers } of answers) {
      if (status === 409) {
        assert.match(body, /still under way/);
        assert.equal(headers.get('retry-after'), '1');
      } else {
        assert.deepEqual([status, body], [200, '{}'], String(replayed));
      }
    }
    await settle(stage, name, subscription);
    assert.deepEqual(namesAndData(subscription), [['shipped', 'once']]);
  });

  test('a batch is answered with the counts of its first time', async (t) => {
    const [room, key] = [unique('presence-batch'), unique('key')];
    const first = await subscribed(await connected(t, stage, { user: ann }), room);
    const batch = { batch: [event(room, 'first'), event(room, 'second', { info: 'subscription_count' })] };

    const before = await publish(stage, key, batch, { route: '/batch_events' });
    await subscribed(await connected(t, stage, { user: ann }), room);
    const again = await publish(stage, key, batch, { route: '/batch_events' });

    assert.equal(before.body, '{"batch":[{},{"subscription_count":1}]}');
    assert.deepEqual([again.status, again.body, again.replayed], [200, before.body, 'true']);
    await settle(stage, room, first);
    assert.deepEqual(namesAndData(first), [['shipped', 'first'], ['shipped', 'second']]);
  });

  test('another request with the same key is 422, and what is no key is 400', async (t) => {
    const [name, key] = [unique('mixed'), unique('key')];
    const subscription = await subscribed(await connected(t, stage), name);
    await publish(stage, key, event(name));

    const other = await publish(stage, key, event(name, 'other'));
    const spaced = await publish(stage, 'two words', event(name));
    const long = await publish(stage, 'k'.repeat(256), event(name));

    assert.equal(other.status, 422);
    assert.match(other.body, /another request/);
    for (const { status, body } of [spaced, long]) {
      assert.equal(status, 400);
      assert.match(body, /1 to 255 visible ASCII characters/);
    }
    await settle(stage, name, subscription);
    assert.deepEqual(namesAndData(subscription), [['shipped', 'once']]);
  });

  test('two apps may use the same key', async () => {
    const key = unique('key');

    for (const app of [APP, BRIEF_APP]) {
      const { status, replayed } = await publish(stage, key, event('anything'), { app });
      assert.deepEqual([status, replayed], [200, null], app.id);
    }
  });

  test('a reload forgets nothing, and the request may be signed with a newer key', async (t) => {
    const [name, key] = [unique('reloaded'), unique('key')];
    const subscription = await subscribed(await connected(t, stage), name);
    await publish(stage, key, event(name));

    await stage.server.reload({ keys: [OLDER_KEY, NEWER_KEY] });
    const newer = { id: APP.id, ...NEWER_KEY };
    const repeated = async () => {
      for (;;) {
        const answer = await publish(stage, key, event(name), { app: newer });
        if (answer.status !== 401) return answer;
        await pause(POLL_MS);
      }
    };
    const { status, replayed } = await within(repeated(), () => 'the newer key to be known');

    assert.deepEqual([status, replayed], [200, 'true']);
    await settle(stage, name, subscription);
    assert.deepEqual(namesAndData(subscription), [['shipped', 'once']]);
  });

  test('after the window the same request is a new one', async (t) => {
    const brief = await Stage.open(() => ({ idempotencyWindowSecs: 1 }));
    t.after(() => brief.close());
    const [name, key] = [unique('later'), unique('key')];
    const subscription = await subscribed(await connected(t, brief), name);
    await publish(brief, key, event(name));

    const anew = async () => {
      for (;;) {
        const { replayed } = await publish(brief, key, event(name));
        if (replayed === null) return;
        await pause(POLL_MS);
      }
    };
    await within(anew(), () => 'the window to be over');

    await settle(brief, name, subscription);
    assert.deepEqual(namesAndData(subscription), Array(2).fill(['shipped', 'once']));
  });
});
