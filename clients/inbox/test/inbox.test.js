/** What is known of an inbox, and how it stays right. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createInbox } from '../dist/index.js';
import { counts, openStage, titles } from './stage/stage.js';
import { until } from './stage/wait.js';

const stage = await openStage();
const { server } = stage;

const notify = (user, title, more = {}) => server.notify({ to: { user }, kind: 'comment.added', title, ...more });

test('a badge costs no request', async (t) => {
  const user = stage.newUser();
  await notify(user, 'before');
  const inbox = await stage.inbox(t, user);
  await stage.shows(inbox, 'the stored one', ({ unread }) => unread === 1);
  await notify(user, 'after');
  await stage.shows(inbox, 'both', ({ unread, unseen }) => unread === 2 && unseen === 2);
  assert.equal(server.asked('POST', '/inbox/session'), 0);
  assert.equal(server.asked('GET', '/inbox/'), 0);
  assert.deepEqual(inbox.arrivals, ['after']);
  assert.deepEqual(inbox.getSnapshot().notifications, []);
});

test('a list is loaded by one request, newest first, and pushes go on top without another', async (t) => {
  const user = stage.newUser();
  for (const title of ['one', 'two']) await notify(user, title, { data: { n: title }, category: 'comments' });
  const inbox = await stage.inbox(t, user);
  assert.equal(inbox.getSnapshot().phase, 'idle');
  const loading = inbox.load();
  assert.equal(inbox.getSnapshot().phase, 'loading');
  await loading;
  assert.equal(inbox.getSnapshot().phase, 'ready');
  assert.deepEqual(titles(inbox), ['two', 'one']);
  const before = server.requests.length;
  const id = await notify(user, 'three', { body: 'text', action_url: '/x', data: { document: 7 } });
  await stage.shows(inbox, 'three', () => titles(inbox).length === 3);
  const [top] = inbox.getSnapshot().notifications;
  assert.deepEqual(
    [top.id, top.title, top.body, top.action_url, top.kind, top.data, top.seq, top.read_at],
    [id, 'three', 'text', '/x', 'comment.added', { document: 7 }, 3, null],
  );
  assert.equal(server.requests.length, before);
  await inbox.load();
  assert.equal(server.requests.length, before, 'what is ready is not loaded again');
});

test('a snapshot is the same object until something changes', async (t) => {
  const inbox = await stage.inbox(t, stage.newUser());
  const first = inbox.getSnapshot();
  assert.equal(inbox.getSnapshot(), first);
  let calls = 0;
  const stop = inbox.subscribe(() => calls++);
  await inbox.load();
  assert.notEqual(inbox.getSnapshot(), first);
  assert.ok(calls > 0);
  stop();
  const before = calls;
  await inbox.load({ status: 'unread' });
  assert.equal(calls, before);
});

test('pages follow each other, and what is older than the last page stays hidden until it is loaded', async (t) => {
  const user = stage.newUser();
  const ids = [];
  for (let n = 1; n <= 7; n++) ids.push(await notify(user, `${n}`));
  const inbox = await stage.inbox(t, user, { pageSize: 3 });
  await inbox.load();
  assert.deepEqual(titles(inbox), ['7', '6', '5']);
  assert.equal(inbox.getSnapshot().more, true);
  // Another device marks an old one: it must not turn up below a hole.
  server.inboxes.mark(user, ids[0], 'read');
  await stage.shows(inbox, 'the count', ({ unread }) => unread === 6);
  await inbox.refresh();
  assert.deepEqual(titles(inbox), ['7', '6', '5']);
  await inbox.more();
  assert.deepEqual(titles(inbox), ['7', '6', '5', '4', '3', '2']);
  await inbox.more();
  assert.deepEqual(titles(inbox), ['7', '6', '5', '4', '3', '2', '1']);
  assert.equal(inbox.getSnapshot().more, false);
  assert.notEqual(inbox.getSnapshot().notifications.at(-1).read_at, null);
  const before = server.requests.length;
  await inbox.more();
  assert.equal(server.requests.length, before);
});

test('a view shows what belongs to it, and changes with it', async (t) => {
  const user = stage.newUser();
  const [a, b] = [await notify(user, 'a', { category: 'bills' }), await notify(user, 'b')];
  await notify(user, 'c');
  server.inboxes.mark(user, a, 'read');
  server.inboxes.mark(user, b, 'archive');
  const inbox = await stage.inbox(t, user);
  await inbox.load({ status: 'unread' });
  assert.deepEqual(titles(inbox), ['c']);
  await inbox.load({ status: 'archived' });
  assert.deepEqual(titles(inbox), ['b']);
  await inbox.load({ category: 'bills' });
  assert.deepEqual(titles(inbox), ['a']);
  await inbox.load({});
  assert.deepEqual(titles(inbox), ['c', 'a']);
});

test('the last view that was asked for wins, whichever answer comes first', async (t) => {
  const user = stage.newUser();
  const id = await notify(user, 'a');
  await notify(user, 'b');
  server.inboxes.mark(user, id, 'archive');
  const inbox = await stage.inbox(t, user);
  await inbox.load();
  const release = server.hold(/notifications$/);
  const slow = inbox.load({ status: 'archived' });
  await until('the first request', () => server.requests.at(-1).query.includes('archived'));
  const last = inbox.load({});
  release();
  await Promise.all([slow, last]);
  assert.deepEqual(titles(inbox), ['b']);
});

test('what was missed while away is fetched with `since`, changes and removals too', async (t) => {
  const user = stage.newUser();
  const [a, b, c] = [await notify(user, 'a'), await notify(user, 'b'), await notify(user, 'c')];
  const pusher = stage.pusher(t, user);
  const inbox = await stage.inbox(t, user, { pusher });
  await inbox.load();
  pusher.disconnect();
  await stage.shows(inbox, 'the end of pushes', ({ live }) => !live);
  await notify(user, 'd');
  server.inboxes.mark(user, a, 'read');
  server.inboxes.mark(user, b, 'archive');
  server.inboxes.retract(user, c);
  server.requests.length = 0;
  pusher.connect();
  await stage.shows(inbox, 'what was missed', () => titles(inbox).join() === 'd,a');
  assert.deepEqual(counts(inbox), [1, 1]);
  assert.deepEqual(inbox.arrivals, ['d']);
  const lists = server.requests.filter(({ path }) => path === '/inbox/notifications');
  assert.deepEqual(lists.map(({ query }) => query), ['since=3&announced=0&limit=100']);
});

test('a push that skips a number is followed by a request for what is between', async (t) => {
  const user = stage.newUser();
  await notify(user, 'a');
  const inbox = await stage.inbox(t, user);
  await inbox.load();
  // What the first state has set going would find the gap as well.
  await new Promise((resolve) => setTimeout(resolve, 200));
  server.inboxes.notify({ to: { user }, kind: 'k', title: 'lost' }, { quiet: true });
  await notify(user, 'c');
  await stage.shows(inbox, 'both', () => titles(inbox).join() === 'c,lost,a');
  assert.deepEqual(inbox.arrivals.toSorted(), ['c', 'lost']);
  assert.equal(server.requests.at(-1).query, 'since=1&announced=0&limit=100');
  assert.deepEqual(counts(inbox), [3, 3]);
});

test('more changes than a page are fetched page by page', async (t) => {
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  await inbox.load();
  for (let n = 1; n <= 230; n++) server.inboxes.notify({ to: { user }, kind: 'k', title: `${n}` }, { quiet: true });
  server.requests.length = 0;
  await inbox.refresh();
  assert.equal(titles(inbox).length, 230);
  assert.deepEqual(server.requests.filter(({ path }) => path.endsWith('notifications')).map(({ query }) => query.split('&')[0]), ['since=0', 'since=100', 'since=200']);
});

test('ten pages of changes are fetched; with more, the list starts anew', async (t) => {
  for (const [changes, anew] of [[1000, false], [1001, true]]) {
    const user = stage.newUser();
    const inbox = await stage.inbox(t, user);
    await inbox.load();
    for (let n = 1; n <= changes; n++) server.inboxes.notify({ to: { user }, kind: 'k', title: `${n}` }, { quiet: true });
    server.requests.length = 0;
    await inbox.refresh();
    assert.equal(titles(inbox).length, anew ? 20 : 1000);
    assert.equal(server.asked('GET', '/inbox/notifications'), anew ? 11 : 10, JSON.stringify(server.requests));
    assert.deepEqual(counts(inbox), [changes, changes]);
    inbox.close();
  }
});

test('past the tombstones (410) the list starts anew', async (t) => {
  const user = stage.newUser();
  const [a] = [await notify(user, 'a'), await notify(user, 'b')];
  const inbox = await stage.inbox(t, user);
  await inbox.load();
  server.inboxes.retract(user, a, { quiet: true });
  server.inboxes.forget(user);
  server.inboxes.notify({ to: { user }, kind: 'k', title: 'c' }, { quiet: true });
  server.requests.length = 0;
  await inbox.refresh();
  assert.deepEqual(titles(inbox), ['c', 'b']);
  assert.deepEqual(server.requests.map(({ status }) => status), [410, 200]);
  assert.deepEqual(counts(inbox), [2, 2]);
  // And goes on from there.
  await notify(user, 'd');
  await stage.shows(inbox, 'the next one', () => titles(inbox).join() === 'd,c,b');
});

test('a server that was restored from a backup is believed', async (t) => {
  const user = stage.newUser();
  await notify(user, 'kept');
  const backup = server.inboxes.backup();
  await notify(user, 'lost');
  const pusher = stage.pusher(t, user);
  const inbox = await stage.inbox(t, user, { pusher });
  await inbox.load();
  pusher.disconnect();
  await stage.shows(inbox, 'the end of pushes', ({ live }) => !live);
  server.inboxes.restore(backup);
  pusher.connect();
  await stage.shows(inbox, 'what is left', () => titles(inbox).join() === 'kept');
  assert.deepEqual(counts(inbox), [1, 1]);
});

test('what the application has published itself, and the server captured, is shown and told', async (t) => {
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  server.inboxes.capture(user, { id: 'b7c1', type: 'App\\Notifications\\Paid', title: 'Paid', amount: 3 });
  await until('the arrival', () => inbox.arrivals.length);
  assert.deepEqual(inbox.arrivals, ['Paid']);
  assert.deepEqual(counts(inbox), [1, 1]);
  await inbox.load();
  assert.deepEqual(inbox.getSnapshot().notifications[0].data, { title: 'Paid', amount: 3 });
  server.inboxes.capture(user, { id: 'b7c2', type: 'App\\Notifications\\Paid', title: 'Paid again' });
  await stage.shows(inbox, 'the second', () => titles(inbox).join() === 'Paid again,Paid');
  assert.deepEqual(inbox.arrivals, ['Paid', 'Paid again']);
});

test('an announcement is pushed, counted and marked like the rest, with numbers of its own', async (t) => {
  const user = stage.newUser();
  await notify(user, 'own');
  const inbox = await stage.inbox(t, user);
  await inbox.load();
  const before = server.requests.length;
  const id = await server.notify({ to: { all: true }, kind: 'release', title: 'to all' });
  await stage.shows(inbox, 'it', () => titles(inbox).join() === 'to all,own');
  assert.equal(server.requests.length, before, 'an announcement must not make every browser ask at once');
  assert.deepEqual(inbox.arrivals, ['to all']);
  assert.deepEqual(counts(inbox), [2, 2]);
  await inbox.read(id);
  assert.deepEqual(counts(inbox), [1, 1]);
  await inbox.readAll();
  assert.deepEqual(counts(inbox), [0, 0]);
  assert.deepEqual(server.requests.at(-1).body, { up_to_seq: 1, up_to_announced: 1 });
  server.inboxes.takeBackAnnouncement(id);
  await stage.shows(inbox, 'it taken back', () => titles(inbox).join() === 'own');
});

test('a digest stays one notification', async (t) => {
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  await inbox.load();
  await notify(user, 'one comment', { digest: 'doc 7' });
  await notify(user, 'two comments', { digest: 'doc 7' });
  await stage.shows(inbox, 'the second', () => titles(inbox).join() === 'two comments');
  await inbox.refresh();
  assert.equal(inbox.getSnapshot().notifications[0].group_count, 2);
  assert.deepEqual(counts(inbox), [1, 1]);
});

test('a failed load is told, and mended by itself', async (t) => {
  const user = stage.newUser();
  await notify(user, 'a');
  const inbox = await stage.inbox(t, user);
  server.fail(/notifications$/, { status: 503, error: 'unavailable', headers: { 'retry-after': '1' } });
  const asked = Date.now();
  await assert.rejects(inbox.load(), { name: 'InboxError', code: 'unavailable', status: 503, retryAfterMs: 1000 });
  assert.equal(inbox.getSnapshot().phase, 'failed');
  assert.equal(inbox.getSnapshot().error.code, 'unavailable');
  await stage.shows(inbox, 'the list', ({ phase }) => phase === 'ready');
  assert.ok(Date.now() - asked >= 1000, 'not before the server wants to be asked again');
  assert.equal(inbox.getSnapshot().error, null);
  assert.deepEqual(titles(inbox), ['a']);
});

test('an inbox on a channel that is subscribed already asks for the state it has missed', async (t) => {
  const user = stage.newUser();
  await notify(user, 'a');
  const pusher = stage.pusher(t, user);
  const channel = pusher.subscribe(`private-user.${user}`);
  await until('the subscription', () => channel.subscribed);
  const inbox = await stage.inbox(t, user, { pusher });
  await stage.shows(inbox, 'the count', ({ unread }) => unread === 1);
  inbox.close();
  assert.equal(pusher.channel(`private-user.${user}`), channel, 'a channel that was there before stays');
  const other = await stage.inbox(t, user, { pusher: stage.pusher(t, user) });
  other.close();
});

test('closing leaves nothing behind', async (t) => {
  const user = stage.newUser();
  const pusher = stage.pusher(t, user);
  const inbox = await stage.inbox(t, user, { pusher });
  await inbox.load();
  let calls = 0;
  inbox.subscribe(() => calls++);
  inbox.close();
  assert.equal(pusher.channel(`private-user.${user}`), undefined);
  await notify(user, 'late');
  await notify(user, 'later');
  assert.equal(calls, 0);
  await assert.rejects(inbox.read('x'), { code: 'closed' });
});

test('2,000 notifications are kept, and one more lets the oldest go', async (t) => {
  const user = stage.newUser();
  for (let n = 1; n <= 2001; n++) server.inboxes.notify({ to: { user }, kind: 'k', title: `${n}` }, { quiet: true });
  const inbox = await stage.inbox(t, user, { pageSize: 100 });
  await inbox.load();
  while (inbox.getSnapshot().more) await inbox.more();
  assert.equal(titles(inbox).length, 2000);
  assert.equal(titles(inbox).at(-1), '2');
  await notify(user, '2002');
  await stage.shows(inbox, 'the new one', () => titles(inbox)[0] === '2002');
  assert.equal(titles(inbox).length, 2000);
  assert.equal(titles(inbox).at(-1), '3');
  assert.equal(inbox.getSnapshot().more, false);
});

test('options that lead nowhere are refused at once', () => {
  assert.throws(() => createInbox({ channel: 'private-user.1' }), /Pusher or Echo instance, or url, key and session/);
});
