// End-to-end encrypted channels: the SDKs hold the key, the server passes on what it cannot read.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, heard, named, subscribed } from '../harness/client.js';
import { PythonSdk } from '../harness/python.js';
import { Stage, unique } from '../harness/stage.js';

describe('encrypted channels', () => {
  let stage;
  let python;
  const ann = { id: '7' };
  before(async () => {
    stage = await Stage.open();
    python = new PythonSdk(stage);
  });
  after(async () => {
    await python?.close();
    await stage?.close();
  });

  test('the server carries only a nonce and a ciphertext', async (t) => {
    const name = unique('private-encrypted-salary');
    const pusher = await connected(t, stage, { user: ann });
    const subscription = await subscribed(pusher, name);

    await stage.sdk.trigger(name, 'raised', { amount: 'secret amount' });

    assert.deepEqual(await heard(subscription, 'raised'), { amount: 'secret amount' });
    const frame = await pusher.frames.next(named('raised'), 'the frame');
    assert.deepEqual(Object.keys(frame.data).sort(), ['ciphertext', 'nonce']);
  });

  test('what the npm sdk encrypts, pusher-js reads', async (t) => {
    const name = unique('private-encrypted-npm');
    const subscription = await subscribed(await connected(t, stage, { user: ann }), name);

    await stage.sdk.trigger(name, 'one', { text: 'Grüße 🔔' });
    await stage.sdk.triggerBatch([{ channel: name, name: 'two', data: [1, 2, 3] }]);

    assert.deepEqual(await heard(subscription, 'one'), { text: 'Grüße 🔔' });
    assert.deepEqual(await heard(subscription, 'two'), [1, 2, 3]);
  });

  test('what the python sdk encrypts, pusher-js reads', async (t) => {
    const name = unique('private-encrypted-pypi');
    const subscription = await subscribed(await connected(t, stage, { user: ann }), name);

    await python.call('trigger', name, 'one', { text: 'Grüße 🔔' });
    await python.call('trigger_batch', [{ channel: name, name: 'two', data: { n: 2 } }]);

    assert.deepEqual(await heard(subscription, 'one'), { text: 'Grüße 🔔' });
    assert.deepEqual(await heard(subscription, 'two'), { n: 2 });
  });

  test('an encrypted cache channel remembers what nobody but its readers can read', async (t) => {
    const name = unique('private-encrypted-cache-salary');
    await stage.sdk.trigger(name, 'raised', { amount: 12 });

    const subscription = await subscribed(await connected(t, stage, { user: ann }), name);

    assert.deepEqual(await heard(subscription, 'raised'), { amount: 12 });
  });
});
