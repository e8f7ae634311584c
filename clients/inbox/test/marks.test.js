/** What the user does: shown at once, undone if it fails. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { InboxError, safeUrl } from '../dist/index.js';
import { counts, openStage, titles } from './stage/stage.js';
import { until } from './stage/wait.js';

const stage = await openStage();
const { server } = stage;

/** An inbox with these, the last the newest, and their ids. */
async function holding(t, names, options) {
  const user = stage.newUser();
  const ids = {};
  for (const title of names) ids[title] = await server.notify({ to: { user }, kind: 'k', title, category: title[0] });
  const inbox = await stage.inbox(t, user, options);
  await inbox.load();
  return { user, inbox, ids };
}

const find = (inbox, title) => inbox.getSnapshot().notifications.find((row) => row.title === title);

test('each mark is shown before the server has confirmed it, and is what the server then says', async (t) => {
  const { user, inbox, ids } = await holding(t, ['a', 'b', 'c', 'd']);
  const tomorrow = new Date(Date.now() + 86_400_000);
  const steps = [
    [() => inbox.read(ids.a), () => find(inbox, 'a').read_at !== null && find(inbox, 'a').seen_at !== null, [3, 3]],
    [() => inbox.unread(ids.a), () => find(inbox, 'a').read_at === null, [4, 3]],
    [() => inbox.seen([ids.b]), () => find(inbox, 'b').seen_at !== null, [4, 2]],
    [() => inbox.archive(ids.b), () => !find(inbox, 'b'), [3, 2]],
    [() => inbox.snooze(ids.c, tomorrow), () => !find(inbox, 'c'), [2, 1]],
    [() => inbox.seen(), () => find(inbox, 'd').seen_at !== null, [2, 0]],
    [() => inbox.readAll(), () => find(inbox, 'd').read_at !== null, [0, 0]],
    [() => inbox.archiveRead(), () => titles(inbox).length === 0, [0, 0]],
  ];
  for (const [act, isShown, expected] of steps) {
    const release = server.hold(/inbox\/(notifications\/|seen|read-all|archive-read)/);
    const acting = act();
    assert.ok(isShown(), `${act} at once`);
    assert.deepEqual(counts(inbox), expected, `${act} at once`);
    release();
    await acting;
    assert.ok(isShown(), `${act} confirmed`);
    assert.deepEqual(counts(inbox), expected, `${act} confirmed`);
    const { unread, unseen } = server.inboxes.state(user);
    assert.deepEqual([unread, unseen], expected, `${act} at the server`);
  }
  await inbox.load({ status: 'archived' });
  assert.deepEqual(titles(inbox), ['d', 'c', 'b', 'a']);
  await inbox.unarchive(ids.b);
  assert.deepEqual(titles(inbox), ['d', 'c', 'a']);
});

test('what was put to sleep comes back unread', async (t) => {
  const { user, inbox, ids } = await holding(t, ['a', 'b']);
  await inbox.read(ids.a);
  await inbox.snooze(ids.a, new Date(Date.now() + 60_000));
  assert.deepEqual(titles(inbox), ['b']);
  await inbox.load({ status: 'snoozed' });
  assert.deepEqual(titles(inbox), ['a']);
  server.inboxes.wake(user);
  await stage.shows(inbox, 'it awake', ({ unread }) => unread === 2);
  await stage.shows(inbox, 'nothing asleep', () => titles(inbox).length === 0);
  await inbox.load({});
  assert.deepEqual(titles(inbox), ['b', 'a']);
});

test('a mark that the server refuses is undone, and its error says why', async (t) => {
  const { inbox, ids } = await holding(t, ['a', 'b']);
  const before = inbox.getSnapshot();
  const attempts = [
    () => inbox.read(ids.a), () => inbox.archive(ids.a), () => inbox.readAll(), () => inbox.seen(),
    () => inbox.snooze(ids.a, new Date(Date.now() + 60_000)),
  ];
  for (const attempt of attempts) {
    server.fail(/inbox\/(notifications\/|seen|read-all)/, { status: 500, error: 'broken' });
    const acting = attempt();
    assert.notDeepEqual([counts(inbox), titles(inbox)], [[2, 2], ['b', 'a']], `${attempt}`);
    await assert.rejects(acting, (error) => error instanceof InboxError && error.code === 'broken' && error.status === 500);
    assert.deepEqual(inbox.getSnapshot(), { ...before, live: true }, `${attempt}`);
  }
  await assert.rejects(inbox.snooze(ids.a, new Date(0)), { code: 'bad_until', status: 422, path: '/until' });
  await assert.rejects(inbox.read('nobody'), { code: 'unknown_notification', status: 404 });
  assert.deepEqual(counts(inbox), [2, 2]);
});

test('a connection that breaks is an error of its own, and undone', async (t) => {
  const { inbox, ids } = await holding(t, ['a']);
  server.fail(/read$/, 'reset');
  const acting = inbox.read(ids.a);
  assert.deepEqual(counts(inbox), [0, 0]);
  await assert.rejects(acting, { code: 'network', status: 0 });
  assert.deepEqual(counts(inbox), [1, 1]);
});

test('marks of one notification do not overtake each other', async (t) => {
  const { user, inbox, ids } = await holding(t, ['a']);
  const release = server.hold(/read$/);
  const first = inbox.read(ids.a);
  const second = inbox.unread(ids.a);
  const third = inbox.read(ids.a);
  assert.deepEqual(counts(inbox), [0, 0]);
  const sent = () => server.requests.filter(({ path }) => path.includes(ids.a)).length;
  await until('the first', sent);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(sent(), 1, 'the others wait for its answer');
  release();
  await Promise.all([first, second, third]);
  const order = server.requests.filter(({ path }) => path.includes(ids.a)).map(({ path }) => path.split('/').at(-1));
  assert.deepEqual(order, ['read', 'unread', 'read']);
  assert.equal(server.inboxes.state(user).unread, 0);
});

test('100 marks may be under way, and one more is refused', async (t) => {
  const { inbox, ids } = await holding(t, ['a']);
  const release = server.hold(/read$/);
  const acting = Array.from({ length: 100 }, (_, n) => (n % 2 ? inbox.unread(ids.a) : inbox.read(ids.a)));
  await assert.rejects(inbox.read(ids.a), { code: 'busy' });
  release();
  await Promise.all(acting);
  await inbox.read(ids.a);
  assert.deepEqual(counts(inbox), [0, 0]);
});

test('what comes in while all is marked as read stays unread', async (t) => {
  const { user, inbox } = await holding(t, ['a', 'b']);
  const release = server.hold(/read-all$/);
  const acting = inbox.readAll();
  assert.deepEqual(counts(inbox), [0, 0]);
  await server.notify({ to: { user }, kind: 'k', title: 'late' });
  await stage.shows(inbox, 'the late one', () => titles(inbox)[0] === 'late');
  release();
  await acting;
  assert.deepEqual(counts(inbox), [1, 1]);
  assert.equal(find(inbox, 'late').read_at, null);
  assert.notEqual(find(inbox, 'a').read_at, null);
});

test('all of a category are read, and no others', async (t) => {
  const { inbox } = await holding(t, ['apple', 'avocado', 'banana']);
  const acting = inbox.readAll('a');
  assert.deepEqual(counts(inbox), [1, 1]);
  await acting;
  assert.deepEqual(counts(inbox), [1, 1]);
  assert.equal(find(inbox, 'banana').read_at, null);
});

test('what another device marks at a stroke is heard, and so is what it marks one by one', async (t) => {
  const { user, inbox, ids } = await holding(t, ['a', 'b', 'c']);
  server.inboxes.bulk(user, 'read-all', { up_to_seq: 2 });
  await stage.shows(inbox, 'two read', () => find(inbox, 'b').read_at !== null && find(inbox, 'a').read_at !== null);
  assert.equal(find(inbox, 'c').read_at, null);
  server.inboxes.mark(user, ids.a, 'unread');
  await stage.shows(inbox, 'it unread', () => find(inbox, 'a').read_at === null);
  assert.deepEqual(counts(inbox), [2, 1]);
  server.inboxes.bulk(user, 'archive-read', { up_to_seq: 3 });
  await stage.shows(inbox, 'it archived', () => titles(inbox).join() === 'c,a');
});

test("a mark's own push changes nothing, whichever comes first", async (t) => {
  const { user, inbox, ids } = await holding(t, ['a', 'b', 'c']);
  const seen = new Set();
  inbox.subscribe(() => seen.add(inbox.getSnapshot().unread));
  const before = server.requests.length;
  await Promise.all([inbox.read(ids.a), inbox.read(ids.b)]);
  // What would follow from a push has followed by the time that the next one is here.
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.deepEqual([...seen], [2, 1]);
  assert.equal(server.requests.length, before + 2, 'only the two marks were asked for');
  await server.notify({ to: { user }, kind: 'k', title: 'd' });
  await stage.shows(inbox, 'the next', ({ unread }) => unread === 2);
  assert.equal(server.requests.length, before + 2, 'nothing was missing');
});

test('preferences are read and changed, and what is required cannot be', async (t) => {
  const { inbox } = await holding(t, ['a']);
  await server.putCategory('comments', { label: 'Comments', default: { mail: false }, required: ['inbox'] });
  const [comments] = await inbox.preferences();
  assert.deepEqual(comments, {
    category: 'comments', label: 'Comments', required: ['inbox'],
    channels: { inbox: true, broadcast: true, mail: false, web_push: true, webhook: true },
  });
  assert.equal((await inbox.setPreference('comments', { mail: true }))[0].channels.mail, true);
  await assert.rejects(inbox.setPreference('comments', { inbox: false }), { code: 'required', status: 409, path: '/channels/inbox' });
});

test('a push subscription is added and removed', async (t) => {
  const { user, inbox } = await holding(t, []);
  assert.equal(await inbox.pushKey(), 'BPublicKey');
  const subscription = { endpoint: 'https://push.example/1', keys: { p256dh: 'p', auth: 'a' } };
  await inbox.addPushSubscription(subscription);
  assert.deepEqual(server.inboxes.subscriptions(user), [subscription]);
  await inbox.removePushSubscription(subscription.endpoint);
  assert.deepEqual(server.inboxes.subscriptions(user), []);
});

test('an answer that is no JSON, as a proxy gives it, is unexpected', async (t) => {
  const { inbox } = await holding(t, []);
  const original = globalThis.fetch;
  t.after(() => (globalThis.fetch = original));
  globalThis.fetch = async () => new Response('<html>sign in to the hotel</html>', { status: 200 });
  await assert.rejects(inbox.preferences(), { code: 'unexpected', status: 200 });
  globalThis.fetch = original;
});

test('only http and https addresses are safe', () => {
  const base = 'https://app.example/inbox';
  for (const [address, safe] of [
    ['/documents/7', 'https://app.example/documents/7'],
    ['https://other.example/x', 'https://other.example/x'],
    ['javascript:alert(1)', null],
    [' JaVaScRiPt:alert(1)', null],
    ['java\nscript:alert(1)', null],
    ['data:text/html,x', null],
    ['vbscript:x', null],
    ['blob:https://app.example/1', null],
    ['https://', null],
    ['', null],
    [null, null],
  ]) {
    assert.equal(safeUrl(address, base), safe, address);
  }
});

