// The PyPI server SDK: every call that it offers.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { connected, eventsOf, heard, named, settle, signedIn, subscribed } from '../harness/client.js';
import { PythonSdk } from '../harness/python.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: '7', info: { name: 'Ann' } };

describe('python sdk', () => {
  let stage;
  let python;
  before(async () => {
    stage = await Stage.open();
    python = new PythonSdk(stage);
  });
  after(async () => {
    await python?.close();
    await stage?.close();
  });

  test('trigger reaches several channels and spares the excluded socket', async (t) => {
    const names = [unique('one'), unique('two')];
    const [sender, other] = await Promise.all([connected(t, stage), connected(t, stage)]);
    const own = await subscribed(sender, names[0]);
    const theirs = [await subscribed(other, names[0]), await subscribed(other, names[1])];

    const answer = await python.call('trigger', names, 'said', { text: 'ünï' }, sender.connection.socket_id);

    assert.deepEqual(answer, {});
    for (const subscription of theirs) assert.deepEqual(await heard(subscription, 'said'), { text: 'ünï' });
    await settle(stage, names[0], own);
    assert.deepEqual(eventsOf(own), []);
  });

  test('trigger_batch delivers each event', async (t) => {
    const name = unique('batch');
    const subscription = await subscribed(await connected(t, stage), name);

    const batch = [{ channel: name, name: 'a', data: { n: 1 } }, { channel: name, name: 'b', data: 'text' }];
    assert.deepEqual(await python.call('trigger_batch', batch), {});

    await heard(subscription, 'b');
    assert.deepEqual(eventsOf(subscription), [{ name: 'a', data: { n: 1 } }, { name: 'b', data: 'text' }]);
  });

  test('channels_info, channel_info and users_info agree with who is there', async (t) => {
    const room = unique('presence-room');
    await subscribed(await connected(t, stage, { user: ann }), room);

    assert.deepEqual(await python.call('channels_info', room, ['user_count']), { channels: { [room]: { user_count: 1 } } });
    assert.deepEqual(await python.call('channel_info', room, ['user_count', 'subscription_count']), {
      occupied: true,
      user_count: 1,
      subscription_count: 1,
    });
    assert.deepEqual(await python.call('users_info', room), { users: [{ id: '7' }] });
  });

  test('send_to_user reaches a signed-in user', async (t) => {
    const user = { id: unique('ann') };
    const tab = await signedIn(t, stage, { user });

    await python.call('send_to_user', user.id, 'hello', { n: 1 });

    assert.deepEqual((await tab.events.next(named('hello'), 'the event')).data, { n: 1 });
  });

  test('authenticate signs private and presence channels, authenticate_user a signin', async (t) => {
    const member = { user_id: 7, user_info: { name: 'Ann' } };
    const asking = (request, answer) => request.then((signed) => answer(null, signed), answer);
    const pusher = await signedIn(t, stage, {
      channelAuthorization: {
        customHandler: ({ socketId, channelName }, answer) => {
          const data = channelName.startsWith('presence-') ? [member] : [];
          asking(python.call('authenticate', channelName, socketId, ...data), answer);
        },
      },
      userAuthentication: {
        customHandler: ({ socketId }, answer) => {
          asking(python.call('authenticate_user', socketId, { id: 'ann', user_info: { name: 'Ann' } }), answer);
        },
      },
    });

    await subscribed(pusher, unique('private-secret'));
    await subscribed(pusher, unique('private-encrypted-secret'));
    const { channel } = await subscribed(pusher, unique('presence-room'));

    assert.deepEqual(pusher.user.user_data, { id: 'ann', user_info: { name: 'Ann' } });
    assert.deepEqual(channel.members.members, { 7: { name: 'Ann' } });
  });

  test('validate_webhook accepts what the server sends and nothing altered', async (t) => {
    const name = unique('hooked');
    await subscribed(await connected(t, stage), name);
    const { request } = await stage.application.webhooks.next(
      ({ name: kind, event }) => kind === 'channel_occupied' && event.channel === name,
      'channel_occupied',
    );
    const { 'x-pusher-key': key, 'x-pusher-signature': signature } = request.headers;

    const validated = await python.call('validate_webhook', key, signature, request.rawBody);

    assert.deepEqual(validated, JSON.parse(request.rawBody));
    assert.equal(await python.call('validate_webhook', key, signature, `${request.rawBody} `), null);
  });

  test('a refusal is raised as the exception for its status', async () => {
    await assert.rejects(python.call('users_info', unique('plain')), { name: 'PusherBadRequest' });
    await assert.rejects(python.call('trigger', unique('large'), 'over', 'x'.repeat(10_241)), {
      name: 'PusherBadStatus',
      message: /^413: .*10240/,
    });
  });
});
