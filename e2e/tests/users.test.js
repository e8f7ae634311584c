// Signed-in users: events to a person, watchlists, and ending a person's connections.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, heard, leave, named, reaches, settle, signedIn, subscribed } from '../harness/client.js';
import { APP } from '../harness/config.js';
import { broadcast } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

describe('users', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  test('an event to a user reaches every connection of that user and no other', async (t) => {
    const ann = { id: unique('ann') };
    const tabs = [await signedIn(t, stage, { user: ann }), await signedIn(t, stage, { user: ann })];
    const bo = await signedIn(t, stage, { user: { id: unique('bo') } });
    const boId = bo.user.user_data.id;

    const response = await stage.sdk.sendToUser(ann.id, 'invoice', { total: 9 });
    await stage.sdk.sendToUser(boId, 'last', {});

    assert.deepEqual(await response.json(), {});
    for (const tab of tabs) assert.deepEqual((await tab.events.next(named('invoice'), 'the invoice')).data, { total: 9 });
    await bo.events.next(named('last'), 'the last event');
    assert.deepEqual(bo.events.all.map(({ name }) => name), ['last']);
  });

  test('an event to a user can be sent in a batch', async (t) => {
    const ann = { id: unique('ann') };
    const tab = await signedIn(t, stage, { user: ann });

    await stage.sdk.triggerBatch([{ channel: `#server-to-user-${ann.id}`, name: 'batched', data: { n: 1 } }]);

    assert.deepEqual((await tab.events.next(named('batched'), 'the event')).data, { n: 1 });
  });

  test('an event to a user can spare the connection that caused it', async (t) => {
    const ann = { id: unique('ann') };
    const [causing, other] = [await signedIn(t, stage, { user: ann }), await signedIn(t, stage, { user: ann })];

    await broadcast(stage, APP, {
      name: 'read',
      data: { n: 1 },
      channels: [`#server-to-user-${ann.id}`],
      socketId: causing.connection.socket_id,
    });
    await stage.sdk.sendToUser(ann.id, 'last', {});

    await other.events.next(named('read'), 'the event');
    await causing.events.next(named('last'), 'the last event');
    assert.deepEqual(causing.events.all.map(({ name }) => name), ['last']);
  });

  test('a connection stays who it is', async (t) => {
    const [ann, bo] = [{ id: unique('ann') }, { id: unique('bo') }];
    const tab = await signedIn(t, stage, { user: ann });

    tab.send_event('pusher:signin', stage.sdk.authenticateUser(tab.connection.socket_id, bo));

    const refusal = await tab.errors.next(() => true, 'the refusal');
    assert.equal(refusal.data.code, null);
    await stage.sdk.sendToUser(ann.id, 'still', {});
    await tab.events.next(named('still'), 'the event');
  });

  test('nobody may subscribe to the events of another user', async (t) => {
    const tab = await signedIn(t, stage, { user: { id: unique('ann') } });
    const channel = `#server-to-user-${unique('bo')}`;

    tab.send_event('pusher:subscribe', { auth: '', channel });

    await tab.frames.next(({ event, channel: about }) => event === 'pusher:subscription_error' && about === channel, 'the refusal');
    assert.equal(tab.connection.state, 'connected');
  });

  test('an application that refuses a signin surfaces as a signin error', async (t) => {
    const pusher = await connected(t, stage);
    const error = new Promise((resolve) => pusher.user.bind('pusher:signin_error', resolve));

    pusher.signin();

    assert.equal((await error).status, 403);
    assert.equal(pusher.connection.state, 'connected');
  });

  test('a server that refuses a signin closes with 4009, and the client does not come back', async (t) => {
    const pusher = await connected(t, stage, { user: { id: unique('ann'), forged: true } });

    pusher.signin();

    await reaches(pusher, 'disconnected');
    assert.ok(pusher.errors.all.some((error) => (error.error ?? error).data.code === 4009), JSON.stringify(pusher.errors.all));
  });

  test('a watcher hears who is offline, who comes and who goes', async (t) => {
    const [bo, cy] = [{ id: unique('bo') }, { id: unique('cy') }];
    await signedIn(t, stage, { user: cy });
    const watcher = await signedIn(t, stage, { user: { id: unique('ann'), watchlist: [bo.id, cy.id] } });

    await watcher.watched.next(({ name, ids }) => name === 'online' && ids.includes(cy.id), 'cy online');
    await watcher.watched.next(({ name, ids }) => name === 'offline' && ids.includes(bo.id), 'bo offline');

    const first = await signedIn(t, stage, { user: bo });
    const second = await signedIn(t, stage, { user: bo });
    assert.deepEqual(await watcher.watched.next(() => true, 'bo online'), { name: 'online', ids: [bo.id] });
    await leave(first);
    await leave(second);
    assert.deepEqual(await watcher.watched.next(() => true, 'bo offline'), { name: 'offline', ids: [bo.id] });
    assert.equal(watcher.watched.all.length, 4);
  });

  test('terminating a user closes every signed-in connection with 4009, for good, and no other', async (t) => {
    const ann = { id: unique('ann'), info: {} };
    const tabs = [await signedIn(t, stage, { user: ann }), await signedIn(t, stage, { user: ann })];
    const visitor = await connected(t, stage, { user: ann });
    const room = unique('presence-room');
    const inRoom = await subscribed(visitor, room);

    const response = await stage.sdk.terminateUserConnections(ann.id);

    assert.deepEqual(await response.json(), {});
    for (const tab of tabs) {
      await reaches(tab, 'disconnected');
      assert.ok(tab.errors.all.some((error) => (error.error ?? error).data.code === 4009), JSON.stringify(tab.errors.all));
    }
    await settle(stage, room, inRoom);
    assert.equal(visitor.connection.state, 'connected');
  });

  test('a user is signed in again after coming back', async (t) => {
    const ann = { id: unique('ann') };
    const tab = await signedIn(t, stage, { user: ann });
    const channel = await subscribed(tab, unique('private-mine'));

    await leave(tab);
    tab.connect();
    await tab.frames.next(named('pusher:signin_success'), 'the second signin');
    await heard(channel, 'pusher:subscription_succeeded');
    await stage.sdk.sendToUser(ann.id, 'again', {});

    await tab.events.next(named('again'), 'the event');
  });
});
