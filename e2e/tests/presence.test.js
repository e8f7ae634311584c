// Presence channels through pusher-js: members are users, not connections.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, eventsOf, heard, leave, rawSocket, settle, signedIn, subscribed } from '../harness/client.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: '7', info: { name: 'Ann' } };
const bo = { id: '8', info: { name: 'Bo' } };

describe('presence', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  async function joined(t, user, room) {
    const pusher = await connected(t, stage, { user });
    const subscription = await subscribed(pusher, room);
    const success = subscription.events.all.find(({ name }) => name === 'pusher:subscription_succeeded');
    return { pusher, ...subscription, welcome: success.data };
  }

  test('a member sees itself and those who were there before', async (t) => {
    const room = unique('presence-room');
    const first = await joined(t, ann, room);
    const second = await joined(t, bo, room);

    assert.deepEqual(first.welcome, {
      count: 1,
      members: { 7: { name: 'Ann' } },
      myID: '7',
      me: { id: '7', info: { name: 'Ann' } },
    });
    assert.deepEqual(second.welcome, {
      count: 2,
      members: { 7: { name: 'Ann' }, 8: { name: 'Bo' } },
      myID: '8',
      me: { id: '8', info: { name: 'Bo' } },
    });
  });

  test('those who are there see a member come and go', async (t) => {
    const room = unique('presence-room');
    const watching = await joined(t, ann, room);
    const visitor = await joined(t, bo, room);

    assert.deepEqual(await heard(watching, 'pusher:member_added'), { id: '8', info: { name: 'Bo' } });
    await leave(visitor.pusher);
    assert.deepEqual(await heard(watching, 'pusher:member_removed'), { id: '8', info: { name: 'Bo' } });
    assert.equal(watching.channel.members.count, 1);
  });

  test('an unsubscribe is a departure too', async (t) => {
    const room = unique('presence-room');
    const watching = await joined(t, ann, room);
    const visitor = await joined(t, bo, room);

    visitor.pusher.unsubscribe(room);

    assert.deepEqual(await heard(watching, 'pusher:member_removed'), { id: '8', info: { name: 'Bo' } });
  });

  test('a second tab does not announce the member again, and its closing does not remove it', async (t) => {
    const room = unique('presence-room');
    const watching = await joined(t, ann, room);
    const tabs = [await joined(t, bo, room), await joined(t, bo, room)];
    assert.equal(tabs[1].welcome.count, 2);

    await leave(tabs[0].pusher);
    await settle(stage, room, watching, tabs[1]);
    assert.deepEqual(presenceOf(watching), ['pusher:member_added 8']);
    assert.deepEqual(presenceOf(tabs[1]), []);

    await leave(tabs[1].pusher);
    await heard(watching, 'pusher:member_removed');
    assert.deepEqual(presenceOf(watching), ['pusher:member_added 8', 'pusher:member_removed 8']);
  });

  test('a member never hears of its own coming', async (t) => {
    const room = unique('presence-room');
    const member = await joined(t, ann, room);

    await settle(stage, room, member);

    assert.deepEqual(presenceOf(member), []);
    assert.deepEqual(eventsOf(member), []);
  });

  test('a member who vanishes is removed after the grace, one who returns within it has never left', async (t) => {
    const room = unique('presence-room');
    const watching = await joined(t, ann, room);
    const appear = async (id) => {
      const socket = await rawSocket(t, stage);
      const { socket_id: socketId } = JSON.parse((await socket.next('pusher:connection_established')).data);
      const signed = stage.sdk.authorizeChannel(socketId, room, { user_id: id });
      socket.send({ event: 'pusher:subscribe', data: { channel: room, ...signed } });
      await socket.next('pusher_internal:subscription_succeeded');
      return socket;
    };

    (await appear('8')).vanish();
    await appear('8');
    (await appear('9')).vanish(); // later, so that 8 would have been removed before

    await heard(watching, 'pusher:member_removed');
    assert.deepEqual(presenceOf(watching), ['pusher:member_added 8', 'pusher:member_added 9', 'pusher:member_removed 9']);
  });

  test('a numeric user id is the same member as its text', async (t) => {
    const room = unique('presence-room');
    const watching = await joined(t, ann, room);
    const numeric = await joined(t, { id: 10, info: { name: 'Mr. Channels' } }, room);
    const textual = await joined(t, { id: '10', info: { name: 'Mr. Channels' } }, room);

    assert.deepEqual(await heard(watching, 'pusher:member_added'), { id: '10', info: { name: 'Mr. Channels' } });
    assert.deepEqual(numeric.channel.members.me, { id: 10, info: { name: 'Mr. Channels' } });
    assert.equal(textual.welcome.count, 2);
    await settle(stage, room, watching);
    assert.deepEqual(presenceOf(watching), ['pusher:member_added 10']);
    assert.deepEqual(await users(room), ['10', '7']);
  });

  test('a signed-in connection joins under the name that it signed in with', async (t) => {
    const room = unique('presence-signed-in');
    const member = await subscribed(await signedIn(t, stage, { user: ann }), room);

    assert.deepEqual(member.channel.members.me, { id: '7', info: { name: 'Ann' } });
    assert.deepEqual(await users(room), ['7']);
  });

  test('a member without info keeps its place in the list', async (t) => {
    const room = unique('presence-room');
    const member = await joined(t, { id: 'bare' }, room);

    assert.equal(member.welcome.count, 1);
    assert.deepEqual(Object.keys(member.welcome.members), ['bare']);
  });

  async function users(room) {
    const answer = await (await stage.sdk.get({ path: `/channels/${room}/users` })).json();
    return answer.users.map(({ id }) => id).sort();
  }
});

function presenceOf({ events }) {
  return events.all.filter(({ name }) => name.startsWith('pusher:member_')).map(({ name, data }) => `${name} ${data.id}`);
}
