/** How an inbox proves whose it is, and where its pushes come from. */

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';

import Echo from 'laravel-echo';

import { createInbox } from '../dist/index.js';
import { TestEventSource } from './stage/event_source.js';
import { APP } from './stage/server.js';
import { counts, openStage, titles } from './stage/stage.js';
import { until } from './stage/wait.js';

globalThis.EventSource = TestEventSource;
const stage = await openStage();
const { server, application } = stage;

const sessions = () => server.asked('POST', '/inbox/session');
const notify = (user, title) => server.notify({ to: { user }, kind: 'k', title });

test('the channel signature that the application gives is what opens a session', async (t) => {
  const user = stage.newUser();
  const pusher = stage.pusher(t, user);
  const inbox = await stage.inbox(t, user, { pusher });
  await inbox.load();
  const asked = application.authorizations.filter((one) => one.user === user);
  const once = { user, socket: pusher.connection.socket_id, channel: `private-user.${user}` };
  assert.deepEqual(asked, [once, once], 'once to subscribe, once for the session');
  await Promise.all([inbox.preferences(), inbox.preferences(), inbox.refresh()]);
  assert.equal(sessions(), 1);
});

test('several calls at once open one session', async (t) => {
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  const before = sessions();
  await Promise.all([inbox.load(), inbox.preferences(), inbox.pushKey()]);
  assert.equal(sessions(), before + 1);
});

test('a session that is over is renewed, and the call is made again', async (t) => {
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  await inbox.preferences();
  const before = sessions();
  server.endSessions();
  await inbox.preferences();
  assert.equal(sessions(), before + 1);
  // Refused twice: the caller hears of it.
  server.fail(/preferences$/, { status: 401, error: 'bad_session' }, 2);
  await assert.rejects(inbox.preferences(), { code: 'bad_session', status: 401 });
});

test('a session is renewed before its end', async (t) => {
  server.sessionSecs = 1;
  t.after(() => (server.sessionSecs = 600));
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  await inbox.preferences();
  const before = sessions();
  await inbox.preferences();
  assert.equal(sessions(), before, 'half of a short life is used');
  await new Promise((resolve) => setTimeout(resolve, 600));
  await inbox.preferences();
  assert.equal(sessions(), before + 1);
});

test('a new socket gets a new session, without trying the one that died with the old', async (t) => {
  const user = stage.newUser();
  const pusher = stage.pusher(t, user);
  const inbox = await stage.inbox(t, user, { pusher });
  await inbox.preferences();
  pusher.disconnect();
  await stage.shows(inbox, 'the end of pushes', ({ live }) => !live);
  pusher.connect();
  await stage.shows(inbox, 'pushes', ({ live }) => live);
  server.requests.length = 0;
  await inbox.preferences();
  assert.deepEqual(server.requests.map(({ path, status }) => [path, status]), [['/inbox/session', 200], ['/inbox/preferences', 200]]);
});

test('a call before there is a connection waits for it', async (t) => {
  const user = stage.newUser();
  await notify(user, 'a');
  const inbox = createInbox({ pusher: stage.pusher(t, user), channel: `private-user.${user}` });
  t.after(inbox.close);
  await inbox.load();
  assert.deepEqual(titles(inbox), ['a']);
});

test('an application that refuses is an error of its own', async (t) => {
  const user = stage.newUser();
  const inbox = await stage.inbox(t, user);
  application.refuses = true;
  t.after(() => (application.refuses = false));
  await assert.rejects(inbox.load(), (error) => error.code === 'unauthorized' && error.cause !== undefined);
  assert.equal(inbox.getSnapshot().phase, 'failed');
});

test('an Echo instance is as good as a Pusher instance, and its own listeners go on', async (t) => {
  const user = stage.newUser();
  const echo = new Echo({ broadcaster: 'pusher', client: stage.pusher(t, user) });
  const heard = [];
  echo.private(`user.${user}`).notification((notification) => heard.push(notification.title));
  const inbox = await stage.inbox(t, user, { echo });
  await inbox.load();
  await notify(user, 'a');
  await stage.shows(inbox, 'it', () => titles(inbox).join() === 'a');
  await until('Echo', () => heard.length);
  assert.deepEqual(heard, ['a']);
  assert.equal(new Set(application.authorizations.filter((one) => one.user === user).map(({ socket }) => socket)).size, 1, 'one socket');
});

test("the application's own token, or a JWT, does without its authorization endpoint", async (t) => {
  const user = stage.newUser();
  await notify(user, 'a');
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user })}`;
  const jwt = `${signed}.${createHmac('sha256', APP.secret).update(signed).digest('base64url')}`;
  const asked = application.authorizations.length;
  const pusher = stage.pusher(t, user);
  const inbox = createInbox({ pusher, channel: `private-user.${user}`, session: async () => ({ jwt }), socketless: true });
  t.after(inbox.close);
  await inbox.load();
  assert.deepEqual(titles(inbox), ['a']);
  const answer = await fetch(`${server.origin}/inbox/session`, { method: 'POST', body: JSON.stringify({ jwt }) });
  const { token } = await answer.json();
  inbox.close();
  const other = createInbox({ pusher, channel: `private-user.${user}`, session: async () => token, socketless: true });
  t.after(other.close);
  await other.load();
  assert.deepEqual(titles(other), ['a']);
  assert.ok(application.authorizations.length <= asked + 2, 'only the subscriptions');
});

test('tabs share a session, the list, and what is under way', async (t) => {
  const user = stage.newUser();
  const id = await notify(user, 'a');
  const one = await stage.inbox(t, user);
  await one.load();
  const pushed = await notify(user, 'pushed');
  await stage.shows(one, 'it', () => titles(one).join() === 'pushed,a');
  await one.archive(pushed);
  server.requests.length = 0;
  const two = await stage.inbox(t, user);
  await stage.shows(two, 'the count', ({ unread }) => unread === 1);
  await two.load();
  assert.deepEqual(titles(two), ['a'], 'also of what was pushed and marked since it was loaded');
  assert.deepEqual(server.requests, [], 'the other tab had it');
  await two.preferences();
  assert.deepEqual(server.requests.map(({ path }) => path), ['/inbox/preferences'], 'and the session');
  // Before the server has answered, the other tab shows it; and if it fails, neither does.
  const release = server.hold(/read$/);
  const reading = one.read(id);
  await stage.shows(two, 'it read', ({ unread, notifications: [row] }) => unread === 0 && row.read_at !== null);
  release();
  await reading;
  await one.unread(id);
  server.fail(/archive$/, { status: 500 });
  await assert.rejects(one.archive(id));
  await stage.shows(two, 'it still here', () => titles(two).join() === 'a' && two.getSnapshot().unread === 1);
  assert.deepEqual(counts(one), counts(two));
});

test('the tab whose socket a session was opened with may go', async (t) => {
  const user = stage.newUser();
  const pusher = stage.pusher(t, user);
  const one = await stage.inbox(t, user, { pusher });
  await one.preferences();
  const two = await stage.inbox(t, user);
  await two.preferences();
  const before = sessions();
  one.close();
  pusher.disconnect();
  await until('its end', () => server.sockets === 1);
  await two.preferences();
  assert.equal(sessions(), before + 1);
});

test('where WebSockets are blocked, the event stream takes their place, and goes when they come', async (t) => {
  const user = stage.newUser();
  server.isBlocked = true;
  t.after(() => (server.isBlocked = false));
  await notify(user, 'before');
  const inbox = createInbox({ pusher: stage.pusher(t, user), channel: `private-user.${user}` });
  t.after(inbox.close);
  // pusher-js waits for ten seconds before it calls that unavailable.
  await until('the stream', () => inbox.getSnapshot().live, 20_000);
  assert.equal(inbox.getSnapshot().unread, 1);
  await inbox.load();
  await notify(user, 'by the stream');
  await stage.shows(inbox, 'it', () => titles(inbox).join() === 'by the stream,before');
  server.isBlocked = false;
  await until('the subscription', () => application.authorizations.filter((one) => one.user === user).length === 2, 20_000);
  await until('the socket, and no stream beside it', () => server.sockets === 1 && inbox.getSnapshot().live);
  await notify(user, 'by the socket');
  await stage.shows(inbox, 'it', () => titles(inbox)[0] === 'by the socket');
});

test('a page without pusher-js lives on the stream alone, and comes back after it was cut', async (t) => {
  const user = stage.newUser();
  await notify(user, 'a');
  const inbox = await stage.inbox(t, user, {
    url: server.origin,
    key: APP.key,
    session: async (socketId) => application.authorize(user, socketId, `private-user.${user}`),
  });
  await inbox.load();
  server.disconnect();
  await stage.shows(inbox, 'the end of pushes', ({ live }) => !live);
  server.inboxes.notify({ to: { user }, kind: 'k', title: 'missed' }, { quiet: true });
  await stage.shows(inbox, 'it', () => titles(inbox).join() === 'missed,a');
  assert.deepEqual(inbox.arrivals, ['missed']);
  await inbox.read(inbox.getSnapshot().notifications[0].id);
  assert.deepEqual(counts(inbox), [1, 1]);
});
