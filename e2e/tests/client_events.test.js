// Client events: what a subscriber says to the others without the application.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, eventsOf, heard, rawSocket, settle, subscribed, subscribing } from '../harness/client.js';
import { Recorder } from '../harness/wait.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: '7', info: { name: 'Ann' } };
const bo = { id: '8', info: { name: 'Bo' } };
const BURST = 10;

describe('client events', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  for (const [kind, metadata] of [['private', {}], ['presence', { user_id: '7' }]]) {
    test(`the others on a ${kind} channel hear it with ${JSON.stringify(metadata)}, the sender does not`, async (t) => {
      const name = unique(`${kind}-chat`);
      const sender = await subscribed(await connected(t, stage, { user: ann }), name);
      const listener = await subscribed(await connected(t, stage, { user: bo }), name);
      const received = new Recorder('client-typing');
      listener.channel.bind('client-typing', (data, about) => received.add({ data, about }));

      sender.channel.trigger('client-typing', { on: true, text: 'é' });

      assert.deepEqual(await received.next(() => true), { data: { on: true, text: 'é' }, about: metadata });
      await settle(stage, name, sender, listener);
      assert.deepEqual(eventsOf(sender), []);
      assert.equal(eventsOf(listener).length, 1);
    });
  }

  test('nobody can speak in the name of another member', async (t) => {
    const room = unique('presence-chat');
    const socket = await rawSocket(t, stage);
    const { socket_id: socketId } = JSON.parse((await socket.next('pusher:connection_established')).data);
    const signed = stage.sdk.authorizeChannel(socketId, room, { user_id: '7' });
    socket.send({ event: 'pusher:subscribe', data: { channel: room, ...signed } });
    await socket.next('pusher_internal:subscription_succeeded');
    const listener = await subscribed(await connected(t, stage, { user: bo }), room);
    const received = new Recorder('client-typing');
    listener.channel.bind('client-typing', (data, about) => received.add(about));

    socket.send({ event: 'client-typing', channel: room, data: {}, user_id: '8', socket_id: '1.1' });

    assert.deepEqual(await received.next(() => true), { user_id: '7' });
  });

  test('text stays text', async (t) => {
    const name = unique('private-chat');
    const sender = await subscribed(await connected(t, stage, { user: ann }), name);
    const listener = await subscribed(await connected(t, stage, { user: bo }), name);

    sender.channel.trigger('client-said', 'plain words');

    assert.equal(await heard(listener, 'client-said'), 'plain words');
  });

  test('one who has not subscribed is told so and is not heard', async (t) => {
    const name = unique('private-chat');
    const outsider = await connected(t, stage, { user: ann });
    const listener = await subscribed(await connected(t, stage, { user: bo }), name);

    outsider.send_event('client-typing', { on: true }, name);

    const error = await outsider.errors.next(() => true, 'the refusal');
    assert.equal(error.data.code, null);
    await settle(stage, name, listener);
    assert.deepEqual(eventsOf(listener), []);
    assert.equal(outsider.connection.state, 'connected');
  });

  test('a public channel has no client events', async (t) => {
    const name = unique('chat');
    const sender = await subscribed(await connected(t, stage), name);
    const listener = await subscribed(await connected(t, stage), name);

    sender.channel.trigger('client-typing', { on: true });

    await sender.channel.pusher.errors.next(() => true, 'the refusal');
    await settle(stage, name, listener);
    assert.deepEqual(eventsOf(listener), []);
  });

  test('one who speaks too fast is told so with 4301, and stays connected', async (t) => {
    const name = unique('private-chat');
    const pusher = await connected(t, stage, { user: ann });
    const sender = await subscribed(pusher, name);
    const listener = await subscribed(await connected(t, stage, { user: bo }), name);

    for (let n = 0; n < 3 * BURST; n += 1) sender.channel.trigger('client-tick', n);

    const error = await pusher.errors.next(() => true, 'the refusal');
    assert.equal(error.data.code, 4301);
    await settle(stage, name, sender, listener);
    const ticks = eventsOf(listener).map(({ data }) => data);
    assert.deepEqual(ticks.slice(0, BURST), Array.from({ length: BURST }, (_, n) => n));
    assert.ok(ticks.length < 3 * BURST, `${ticks.length} came through`);
    assert.equal(pusher.connection.state, 'connected');
  });

  test('a client event sent while the subscription is pending does not reach the others', async (t) => {
    const name = unique('private-chat');
    const listener = await subscribed(await connected(t, stage, { user: bo }), name);
    const early = subscribing(await connected(t, stage, { user: ann }), name);

    early.channel.trigger('client-early', {}); // the signature is still being fetched

    await heard(early, 'pusher:subscription_succeeded');
    await settle(stage, name, listener);
    assert.deepEqual(eventsOf(listener), []);
  });
});
