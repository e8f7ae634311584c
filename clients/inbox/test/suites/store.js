/** What the store and a server must agree on, on any server. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { counts, titles } from '../stage/stage.js';

export function storeSuite(stage) {
  const { server } = stage;
  const notify = (user, title, more = {}) => server.notify({ to: { user }, kind: 'comment.added', title, ...more });
  const find = (inbox, title) => inbox.getSnapshot().notifications.find((row) => row.title === title);
  const agrees = async (inbox, user) => {
    const { unread, unseen } = await server.state(user);
    assert.deepEqual(counts(inbox), [unread, unseen], 'the counts are those of the server');
  };

  test('what arrives is whole, and is what a list says of it', async (t) => {
    const user = stage.newUser();
    await notify(user, 'before');
    const inbox = await stage.inbox(t, user);
    await stage.shows(inbox, 'the first', ({ unread }) => unread === 1);
    await inbox.load();
    await notify(user, 'after', {
      body: 'text', action_url: '/x', actions: [{ label: 'Go', url: '/y' }], data: { document: 7 }, category: 'comments', subject: { type: 'document', id: '7' },
    });
    await stage.shows(inbox, 'the second', () => titles(inbox).join() === 'after,before');
    assert.deepEqual(inbox.arrivals, ['after']);
    const pushed = inbox.getSnapshot().notifications;
    inbox.close();
    const other = await stage.inbox(t, user);
    await other.load();
    assert.deepEqual(other.getSnapshot().notifications, pushed);
    await agrees(other, user);
  });

  test('every mark moves the counts as the server does', async (t) => {
    const user = stage.newUser();
    const ids = {};
    for (const title of ['a', 'b', 'c', 'd']) ids[title] = await notify(user, title, { category: `kind-${title}` });
    const inbox = await stage.inbox(t, user);
    await inbox.load();
    const id = (title) => find(inbox, title).id;
    const marks = [
      () => inbox.read(id('a')), () => inbox.unread(id('a')), () => inbox.seen([id('b')]), () => inbox.archive(id('b')),
      () => inbox.snooze(id('c'), new Date(Date.now() + 60_000)), () => inbox.readAll('kind-d'), () => inbox.unread(id('d')),
      () => inbox.seen(), () => inbox.readAll(), () => inbox.archiveRead(),
    ];
    for (const mark of marks) {
      const marking = mark();
      const shown = counts(inbox);
      await marking;
      assert.deepEqual(counts(inbox), shown, `${mark}`);
      await agrees(inbox, user);
    }
    assert.deepEqual(titles(inbox), []);
    await assert.rejects(inbox.snooze(ids.a, new Date(0)), (error) => error.status >= 400 && error.status < 500 && error.path === '/until');
    await assert.rejects(inbox.read('0190a0a0-0000-7000-8000-000000000000'), { code: 'unknown_notification', status: 404 });
  });

  test('pages follow each other', async (t) => {
    const user = stage.newUser();
    for (let n = 1; n <= 7; n++) await notify(user, `${n}`);
    const inbox = await stage.inbox(t, user, { pageSize: 3 });
    await inbox.load();
    for (const length of [6, 7]) {
      assert.equal(inbox.getSnapshot().more, true);
      await inbox.more();
      assert.equal(titles(inbox).length, length);
    }
    assert.equal(inbox.getSnapshot().more, false);
    assert.deepEqual(titles(inbox), ['7', '6', '5', '4', '3', '2', '1']);
  });

  test('what another device did while this one was away is caught up with', async (t) => {
    const user = stage.newUser();
    for (const title of ['a', 'b', 'c']) await notify(user, title);
    const pusher = stage.pusher(t, user);
    const away = await stage.inbox(t, user, { pusher });
    await away.load();
    pusher.disconnect();
    await stage.shows(away, 'the end of pushes', ({ live }) => !live);
    // Not a tab beside it, which would tell it: another server name makes another device.
    const other = await stage.inbox(t, user, { url: server.origin.replace('127.0.0.1', 'localhost') });
    await other.load();
    await other.archive(find(other, 'a').id);
    await other.readAll();
    await other.unread(find(other, 'b').id);
    await notify(user, 'd');
    await stage.shows(other, 'it', () => titles(other).length === 3);
    pusher.connect();
    await stage.shows(away, 'all of it', () => titles(away).join() === 'd,c,b' && find(away, 'c').read_at !== null && find(away, 'b').read_at === null);
    assert.deepEqual(away.arrivals, ['d']);
    await agrees(away, user);
    // When its own mark was made, the other one takes from its own clock until it asks.
    const standings = (inbox) => inbox.getSnapshot().notifications.map(({ id, seq, rev, read_at, seen_at }) => [id, seq, rev, !read_at, !seen_at]);
    assert.deepEqual(standings(away), standings(other));
  });

  test('a digest stays one notification', async (t) => {
    const user = stage.newUser();
    const inbox = await stage.inbox(t, user);
    await inbox.load();
    await notify(user, 'one comment', { digest: 'doc 7' });
    await notify(user, 'two comments', { digest: 'doc 7' });
    await stage.shows(inbox, 'the second', ({ notifications }) => notifications.length === 1 && notifications[0].group_count === 2);
    assert.equal(titles(inbox)[0], 'two comments');
    await agrees(inbox, user);
  });

  test('preferences are read and changed, and what is required cannot be', async (t) => {
    await server.putCategory('comments', { label: 'Comments', default: { mail: false }, required: ['inbox'] });
    const inbox = await stage.inbox(t, stage.newUser());
    const comments = async (answer) => (await answer).find(({ category }) => category === 'comments');
    assert.equal((await comments(inbox.preferences())).channels.mail, false);
    assert.equal((await comments(inbox.setPreference('comments', { mail: true }))).channels.mail, true);
    await assert.rejects(inbox.setPreference('comments', { inbox: false }), { code: 'required', status: 409 });
  });

  test('more changes than a page are caught up with page by page', async (t) => {
    const user = stage.newUser();
    const pusher = stage.pusher(t, user);
    const inbox = await stage.inbox(t, user, { pusher });
    await inbox.load();
    pusher.disconnect();
    await stage.shows(inbox, 'the end of pushes', ({ live }) => !live);
    for (let n = 1; n <= 130; n++) await notify(user, `${n}`);
    pusher.connect();
    await stage.shows(inbox, 'all', () => titles(inbox).length === 130);
    await agrees(inbox, user);
  });

  // The last: it is in the inboxes of all who come after.
  test('an announcement is heard, marked, and counted', async (t) => {
    const user = stage.newUser();
    await notify(user, 'own');
    const inbox = await stage.inbox(t, user);
    await inbox.load();
    await server.notify({ to: { all: true }, kind: 'release', title: 'to all' });
    await stage.shows(inbox, 'it', () => titles(inbox)[0] === 'to all');
    await stage.shows(inbox, 'the count', ({ unread }) => unread >= 2);
    await agrees(inbox, user);
    const { unread } = inbox.getSnapshot();
    await inbox.read(find(inbox, 'to all').id);
    assert.equal(inbox.getSnapshot().unread, unread - 1);
    await agrees(inbox, user);
    await inbox.readAll();
    await agrees(inbox, user);
    assert.deepEqual(counts(inbox), [0, 0]);
  });
}
