// Stock clients that lose their connection are sent what they have missed, on the channels that the app names.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { signedHeaders } from '../harness/application.js';
import { openBrowser, openTab } from '../harness/browser.js';
import { client, eventsOf, heard, leave, named, reaches, settle, subscribed } from '../harness/client.js';
import { REPLAY_EVENTS_MAX } from '../harness/config.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: '7', info: { name: 'Ann' } };
const bo = { id: '8', info: { name: 'Bo' } };
// pusher-js that comes while nobody listens tries again after 15 seconds.
const COME_BACK_MS = 25_000;

describe('replay', () => {
  let stage;
  before(async () => (stage = await Stage.open()));
  after(() => stage?.close());

  /** pusher-js that keeps each channel's position, and passes it to the application with its next request. */
  const keeping = (t, user = ann) => {
    const positions = {};
    const customHandler = async ({ socketId, channelName }, done) => {
      const fields = { socket_id: socketId, channel_name: channelName, since: positions[channelName] ?? '' };
      const answer = await fetch(`${stage.application.origin}/broadcasting/auth`, {
        method: 'POST',
        headers: signedHeaders(user),
        body: new URLSearchParams(fields),
      });
      done(answer.ok ? null : new Error(`${answer.status}`), answer.ok ? await answer.json() : null);
    };
    const pusher = client(t, stage, { user, channelAuthorization: { customHandler } });
    const listen = async (name) => {
      const subscription = await subscribed(pusher, name);
      subscription.channel.bind('replay.position', ({ at }) => (positions[name] = at));
      // The first came with the answer to the subscription.
      positions[name] ??= (await heard(subscription, 'replay.position')).at;
      return subscription;
    };
    return { pusher, listen, positions };
  };
  const publish = async (name, numbers, options) => {
    for (const number of numbers) await stage.sdk.trigger(name, 'shipped', { number }, options);
  };
  const numbersOf = (subscription) => subscription.events.all.filter(named('shipped')).map(({ data }) => data.number);
  const away = async (pusher, meanwhile) => {
    await leave(pusher);
    await meanwhile();
    pusher.connect();
    await reaches(pusher, 'connected');
  };

  for (const kind of ['private', 'presence', 'private-cache', 'presence-cache']) {
    test(`pusher-js that was away hears all of a ${kind} channel, in order and once`, async (t) => {
      const name = unique(`${kind}-replay`);
      const { pusher, listen } = keeping(t);
      await reaches(pusher, 'connected');
      const subscription = await listen(name);
      await publish(name, [1, 2]);
      await settle(stage, name, subscription);

      await away(pusher, () => publish(name, [3, 4]));
      await publish(name, [5]);
      await settle(stage, name, subscription);
      await away(pusher, () => {});
      await publish(name, [6]);
      await settle(stage, name, subscription);

      assert.deepEqual(numbersOf(subscription), [1, 2, 3, 4, 5, 6]);
      assert.equal(eventsOf(subscription).filter(named('replay.gap')).length, 0);
    });
  }

  test('one who has missed more than is kept is told of the gap, and goes on', async (t) => {
    const name = unique('private-replay');
    const { pusher, listen } = keeping(t);
    await reaches(pusher, 'connected');
    const subscription = await listen(name);
    const numbers = Array.from({ length: REPLAY_EVENTS_MAX + 1 }, (_, number) => number);

    await away(pusher, () => publish(name, numbers));
    const { oldest, newest } = await heard(subscription, 'replay.gap');
    await publish(name, [100]);
    await settle(stage, name, subscription);

    assert.deepEqual(numbersOf(subscription), [100]);
    assert.match(oldest, /^[0-9a-f]+-2$/);
    assert.match(newest, /^[0-9a-f]+-6$/);
  });

  test('a position is of its channel and start: others know of a gap', async (t) => {
    const [name, other] = [unique('private-replay'), unique('private-replay')];
    const { pusher, listen, positions } = keeping(t);
    await reaches(pusher, 'connected');
    const subscription = await listen(name);
    await listen(other);
    await publish(name, [1]);
    await settle(stage, name, subscription);

    positions[name] = positions[other];
    await away(pusher, () => {});
    await heard(subscription, 'replay.gap');
    await stage.server.stop();
    await stage.server.startAgain();
    await reaches(pusher, 'connected', COME_BACK_MS);
    await heard(subscription, 'replay.gap');
  });

  test('whispers are not sent again, and move no position', async (t) => {
    const name = unique('private-replay');
    const [first, second] = [keeping(t), keeping(t, bo)];
    await reaches(first.pusher, 'connected');
    const subscription = await first.listen(name);
    const other = await second.listen(name);

    await away(first.pusher, () => other.channel.trigger('client-typing', {}));
    await settle(stage, name, subscription, other);

    assert.equal(subscription.events.all.filter(named('client-typing')).length, 0);
  });

  test('laravel-echo in Chromium that was away hears all, once', async (t) => {
    const browser = await openBrowser();
    t.after(() => browser.close());
    const name = unique('replay');
    const tab = await openTab(t, browser, stage, { user: ann, positions: {} });
    await tab.run((channel) => {
      window.echo
        .private(channel)
        .subscribed(() => window.note('subscribed'))
        .listen('.replay.position', ({ at }) => (window.positions[`private-${channel}`] = at))
        .listen('.replay.gap', (gap) => window.note('gap', gap))
        .listen('.shipped', ({ number }) => window.note('shipped', number));
    }, name);
    await tab.noted('subscribed');
    await publish(`private-${name}`, [1]);
    assert.equal(await tab.noted('shipped'), 1);
    await tab.page.waitForFunction((channel) => window.positions[channel]?.endsWith('-1'), `private-${name}`);

    await tab.run(() => window.echo.connector.pusher.disconnect());
    await tab.noted('state disconnected');
    await publish(`private-${name}`, [2, 3]);
    await tab.run(() => window.echo.connector.pusher.connect());
    for (const number of [2, 3]) assert.equal(await tab.noted('shipped'), number);
    await publish(`private-${name}`, [4]);
    assert.equal(await tab.noted('shipped'), 4);

    assert.deepEqual(await tab.all('shipped'), [1, 2, 3, 4]);
    assert.deepEqual(await tab.all('gap'), []);
  });
});
