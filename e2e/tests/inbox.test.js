// Notifications that are kept: Laravel's by configuration alone, an application's by request; heard, listed and marked.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';

import { openBrowser, openTab } from '../harness/browser.js';
import { connected, heard, leave, named, reaches, settle, subscribed } from '../harness/client.js';
import { APP, SERVER_TOKEN } from '../harness/config.js';
import { broadcast } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

const CREATED = 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated';
// pusher-js that comes while nobody listens tries again after 15 seconds.
const COME_BACK_MS = 25_000;

describe('inbox', () => {
  let stage;
  let browser;
  before(async () => {
    browser = await openBrowser();
    stage = await Stage.open(() => ({
      inbox: {
        channels: ['private-App.Models.User.{user}'],
        identity: ['private-App.Models.User.{user}'],
        capture: [{ channel: 'private-App.Models.User.{user}', title: '/title' }],
      },
    }));
  });
  after(async () => {
    await browser?.close();
    await stage?.close();
  });

  const user = () => ({ id: unique('u'), info: { name: 'Ann' } });
  const channelOf = ({ id }) => `private-App.Models.User.${id}`;
  const asServer = async (method, path, body) => {
    const answer = await fetch(`${stage.server.origin}/apps/${APP.id}${path}`, {
      method,
      headers: { authorization: `Bearer ${SERVER_TOKEN}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, ...(await answer.json()) };
  };
  const notify = (to, key, more) =>
    asServer('POST', '/notifications', { to, kind: 'comment.added', title: 'New comment', key, ...more });

  /** A tab whose page listens as an application's would, and has a session. */
  const openInbox = async (t, who) => {
    const tab = await openTab(t, browser, stage, { user: who });
    await tab.run((id) => {
      window.echo
        .private(`App.Models.User.${id}`)
        .notification((notification) => window.note('notification', notification))
        .listen('.inbox.state', (state) => window.note('state', state))
        .listen('.inbox.updated', (update) => window.note('updated', update));
    }, who.id);
    const state = await tab.noted('state');
    await tab.run(
      async ({ origin, channel, asWho }) => {
        const fields = { socket_id: window.echo.socketId(), channel_name: channel };
        const signed = await fetch('/broadcasting/auth', {
          method: 'POST',
          headers: { 'X-User': asWho },
          body: new URLSearchParams(fields),
        });
        const { auth } = await signed.json();
        const body = JSON.stringify({ ...fields, auth });
        const { token } = await (await fetch(`${origin}/inbox/session`, { method: 'POST', body })).json();
        window.inbox = async (method, path, body) => {
          const answer = await fetch(`${origin}/inbox${path}`, {
            method,
            headers: { authorization: `Bearer ${token}` },
            ...(body && { body: JSON.stringify(body) }),
          });
          return { status: answer.status, ...(await answer.json()) };
        };
      },
      { origin: stage.server.origin, channel: channelOf(who), asWho: JSON.stringify(who) },
    );
    return { tab, state };
  };

  test("laravel's notification is a row by configuration alone, and echo hears it as ever", async (t) => {
    const who = user();
    const { tab, state } = await openInbox(t, who);
    assert.deepEqual(state, { unread: 0, unseen: 0, seq: 0, rev: 0, announced: 0 });
    const data = { id: randomUUID(), type: 'App\\Notifications\\InvoicePaid', title: 'Paid', total: '9 €' };

    await broadcast(stage, APP, { name: CREATED, data, channels: [channelOf(who)] });

    assert.deepEqual(await tab.noted('notification'), data);
    const updated = await tab.noted('updated');
    assert.deepEqual([updated.unread, updated.changed], [1, [data.id]]);
    const list = await tab.run(() => window.inbox('GET', '/notifications'));
    assert.deepEqual([list.status, list.notifications[0].id, list.notifications[0].title], [200, data.id, 'Paid']);

    // The job is tried again, through the npm SDK.
    await stage.sdk.trigger(channelOf(who), CREATED, data);
    const { unread, seq } = await tab.run(() => window.inbox('GET', '/state'));
    assert.deepEqual([unread, seq], [1, 1]);
  });

  test('an application sends a notification, and what one tab marks the other hears', async (t) => {
    const who = user();
    const [{ tab: first }, { tab: second }] = [await openInbox(t, who), await openInbox(t, who)];
    const sent = await notify({ user: who.id }, unique('c'), { action_url: '/documents/7', data: { document: 7 } });
    assert.deepEqual([sent.status, sent.outcome], [202, 'accepted']);
    for (const tab of [first, second]) {
      const { id, type, document } = await tab.noted('notification');
      assert.deepEqual([id, type, document], [sent.id, 'comment.added', 7]);
      assert.equal((await tab.noted('updated')).unread, 1);
    }

    const marked = await first.run((id) => window.inbox('POST', `/notifications/${id}/read`), sent.id);

    assert.deepEqual([marked.status, marked.unread], [200, 0]);
    for (const tab of [first, second]) {
      const updated = await tab.noted('updated');
      assert.deepEqual([updated.unread, updated.changed], [0, [sent.id]]);
    }
  });

  test('pusher-js that comes back is told how its inbox stands, and nothing before its subscription', async (t) => {
    const who = user();
    const pusher = await connected(t, stage, { user: who });
    const subscription = await subscribed(pusher, channelOf(who));
    assert.equal((await heard(subscription, 'inbox.state')).unread, 0);
    await leave(pusher);
    for (const key of [1, 2, 3]) assert.equal((await notify({ user: who.id }, `${who.id}-${key}`)).status, 202);
    pusher.connect();
    await reaches(pusher, 'connected');

    // Rows follow their acceptance; one that comes after is an update.
    let { unread } = await heard(subscription, 'inbox.state');
    while (unread < 3) ({ unread } = await heard(subscription, 'inbox.updated'));

    const frames = pusher.frames.all.filter(({ channel }) => channel === channelOf(who)).map(({ event }) => event);
    assert.equal(frames[0], 'pusher_internal:subscription_succeeded');
  });

  test('a channel that is no inbox hears nothing of it, and its signature opens none', async (t) => {
    const who = user();
    const name = unique('private-other');
    const pusher = await connected(t, stage, { user: who });
    const subscription = await subscribed(pusher, name);
    await notify({ user: who.id }, unique('c'));
    await settle(stage, name, subscription);
    assert.equal(subscription.events.all.filter(named('inbox.state')).length, 0);

    const socketId = pusher.connection.socket_id;
    const { auth } = JSON.parse(JSON.stringify(stage.sdk.authorizeChannel(socketId, name)));
    const answer = await fetch(`${stage.server.origin}/inbox/session`, {
      method: 'POST',
      body: JSON.stringify({ socket_id: socketId, channel_name: name, auth }),
    });
    assert.deepEqual([answer.status, (await answer.json()).error], [403, 'not_identity']);
  });

  test('rows outlive a restart, and whoever comes back is told of them', async (t) => {
    const who = user();
    const pusher = await connected(t, stage, { user: who });
    const subscription = await subscribed(pusher, channelOf(who));
    assert.equal((await heard(subscription, 'inbox.state')).unread, 0);
    await notify({ user: who.id }, unique('c'));
    assert.equal((await heard(subscription, 'inbox.updated')).unread, 1);

    await stage.server.stop();
    await stage.server.startAgain();
    await reaches(pusher, 'connected', COME_BACK_MS);

    assert.equal((await heard(subscription, 'inbox.state')).unread, 1);
  });

  test('killed amid a load, no accepted notification is lost, and no key is two', async () => {
    const who = user();
    const keys = Array.from({ length: 400 }, (_, number) => `${who.id}:${number}`);
    const ids = new Map();
    const send = async (key) => {
      const answer = await notify({ user: who.id }, key).catch(() => undefined); // the server was killed
      if (answer?.id) {
        const before = ids.get(key);
        assert.ok(before === undefined || before === answer.id, `${key} was ${before} and is ${answer.id}`);
        ids.set(key, answer.id);
      }
      return answer;
    };
    const publishers = async (wanted) => {
      const left = [...wanted];
      await Promise.all(Array.from({ length: 16 }, async () => {
        while (left.length > 0) await send(left.shift());
      }));
    };

    const underWay = publishers(keys);
    while (ids.size < 100) await new Promise((resolve) => setTimeout(resolve, 2));
    await stage.server.kill();
    await underWay;
    const accepted = new Map(ids);
    assert.ok(accepted.size < keys.length, 'it was killed too late to show anything');
    await stage.server.startAgain();
    // Each is repeated, as a publisher does that has heard no answer, and some that have.
    await publishers(keys);
    assert.equal(ids.size, keys.length);
    for (const [key, id] of accepted) assert.equal(ids.get(key), id);

    let inbox;
    const deadline = Date.now() + 20_000;
    do inbox = await asServer('GET', `/users/${who.id}/inbox?limit=1`);
    while (inbox.seq < keys.length && Date.now() < deadline);
    const rows = [];
    for (let before = ''; before !== null; ) {
      const page = await asServer('GET', `/users/${who.id}/inbox?limit=100&before=${before}`);
      rows.push(...page.notifications);
      before = page.next;
    }
    assert.deepEqual(rows.map(({ seq }) => seq).reverse(), keys.map((_, number) => number + 1), 'numbered without a gap');
    assert.deepEqual(new Set(rows.map(({ id }) => id)), new Set(ids.values()));
    assert.equal(inbox.unread, keys.length);
  });
});
