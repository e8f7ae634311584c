// The server speaks TLS itself, with no proxy in front of it.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

import { connected, named, subscribed } from '../harness/client.js';
import { APP } from '../harness/config.js';
import { signedRequest } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

const { E2E_TLS: directory } = process.env;

describe('tls', () => {
  let stage;
  before(async () => {
    assert.ok(directory, 'run.sh makes the certificate and says where it is');
    const certificate = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
    stage = await Stage.open(() => ({ certificate }));
  });
  after(() => stage?.close());

  test('pusher-js subscribes over wss and the server SDK publishes over https', async (t) => {
    const name = unique('private-secure');
    const pusher = await connected(t, stage, { user: { id: 'ada' } });
    const { events } = await subscribed(pusher, name);
    await stage.sdk.trigger(name, 'order.shipped', { order_id: 5 });
    const { data } = await events.next(named('order.shipped'), 'the event');
    assert.deepEqual(data, { order_id: 5 });
  });

  test('the API answers signed requests over https', async () => {
    const { status } = await signedRequest(stage, APP, 'GET', '/channels');
    assert.equal(status, 200);
  });

  test('plain http is told what this port speaks', async () => {
    const { host, port } = stage.server;
    const response = await fetch(`http://${host}:${port}/`);
    assert.equal(response.status, 400);
    assert.match(await response.text(), /speaks TLS/);
  });
});
