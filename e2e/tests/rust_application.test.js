// pusher-js and Laravel Echo in front of an application in Rust: its authorizations, its events, its encryption.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import Echo from 'laravel-echo';

import { connected, eventsOf, heard, named, settle, signedIn, subscribed, subscribing } from '../harness/client.js';
import { RustApplication } from '../harness/rust_application.js';
import { Stage } from '../harness/stage.js';
import { Recorder } from '../harness/wait.js';

const ANN = { id: 1, name: 'Ann', team: 5 };
const BO = { id: 2, name: 'Bo', team: 5 };
const EVE = { id: 3, name: 'Eve' };

describe('an application in Rust', () => {
  let stage;
  let application;
  let there;
  before(async () => {
    stage = await Stage.open();
    application = await RustApplication.start(stage);
    there = { server: stage.server, application };
  });
  after(async () => {
    await application?.close();
    await stage?.close();
  });

  const refusal = async (pusher, channel) => {
    const { events } = subscribing(pusher, channel);
    return (await events.next(named('pusher:subscription_error'), 'the refusal')).data;
  };

  test('an event reaches its owner', async (t) => {
    const mine = await subscribed(await connected(t, there, { user: ANN }), 'private-user.1');

    await application.post('/orders/42/ship', { user: ANN });

    assert.deepEqual(await heard(mine, 'order.shipped'), { order: 42 });
  });

  test("nobody subscribes to another's channel, to a name written otherwise, or without being signed in", async (t) => {
    const eve = await connected(t, there, { user: EVE });
    const nobody = await connected(t, there, {});

    assert.equal((await refusal(eve, 'private-user.1')).status, 403);
    assert.equal((await refusal(eve, 'private-user.03')).status, 403);
    assert.equal((await refusal(eve, 'private-unheard.of')).status, 403);
    assert.equal((await refusal(eve, 'presence-team.5')).status, 403);
    assert.equal((await refusal(nobody, 'private-user.1')).status, 403);
  });

  test('what it encrypts, pusher-js reads and the server does not', async (t) => {
    const pusher = await connected(t, there, { user: ANN });
    const mine = await subscribed(pusher, 'private-encrypted-salary.1');

    await application.post('/salary', { user: ANN, body: { text: 'Grüße 🔔' } });

    assert.deepEqual(await heard(mine, 'salary.raised'), { amount: { text: 'Grüße 🔔' } });
    const frame = await pusher.frames.next(named('salary.raised'), 'the frame');
    assert.deepEqual(Object.keys(frame.data).sort(), ['ciphertext', 'nonce']);
    assert.equal((await refusal(await connected(t, there, { user: EVE }), 'private-encrypted-salary.1')).status, 403);
  });

  test('a browser signs in as its user', async (t) => {
    const tab = await signedIn(t, there, { user: ANN });

    await stage.sdk.sendToUser('1', 'invoice', { total: 9 });

    assert.deepEqual((await tab.events.next(named('invoice'), 'the invoice')).data, { total: 9 });
  });

  test('Echo listens, knows who is here, and is spared what it caused', async (t) => {
    const [mine, other] = [await connected(t, there, { user: ANN }), await connected(t, there, { user: ANN })];
    const echo = new Echo({ broadcaster: 'pusher', client: mine });
    const shipped = new Recorder('Echo on the user');
    const team = new Recorder('Echo in the team');
    await new Promise((resolve) => {
      echo.private('user.1').subscribed(resolve).listen('.order.shipped', (data) => shipped.add(data));
    });
    echo
      .join('team.5')
      .here((members) => team.add({ here: members }))
      .joining((member) => team.add({ joining: member }));
    const elsewhere = await subscribed(other, 'private-user.1');
    assert.deepEqual((await team.next(({ here }) => here)).here, [{ name: 'Ann' }]);

    await subscribed(await connected(t, there, { user: BO }), 'presence-team.5');
    await application.post('/orders/7/ship', { user: ANN, socketId: echo.socketId() });

    assert.deepEqual((await team.next(({ joining }) => joining)).joining, { name: 'Bo' });
    assert.deepEqual(await heard(elsewhere, 'order.shipped'), { order: 7 });
    await settle(stage, 'private-user.1', elsewhere);
    assert.deepEqual(eventsOf(elsewhere).map(({ name }) => name), ['order.shipped']);
    await application.post('/orders/8/ship', { user: ANN });
    assert.deepEqual(await shipped.next(() => true), { order: 8 });
  });
});
