// laravel-echo on pusher-js in Chromium, on a page of the application.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';

import { openBrowser, openTab } from '../harness/browser.js';
import { APP, FENCED_APP } from '../harness/config.js';
import { broadcast } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: 7, info: { name: 'Ann' } };
const bo = { id: '8', info: { name: 'Bo' } };
// pusher-js that comes while nobody listens tries again after 15 seconds.
const COME_BACK_MS = 25_000;

// What each test asks Echo to do, run in the page.
const listen = ({ kind, name, event }) => {
  window.echo[kind](name)
    .subscribed(() => window.note(`subscribed ${name}`))
    .error((error) => window.note(`refused ${name}`, error))
    .listen(event, (data) => window.note(`heard ${name}`, data));
};
const join = (name) => {
  window.echo
    .join(name)
    .here((members) => window.note('here', members))
    .joining((member) => window.note('joining', member))
    .leaving((member) => window.note('leaving', member))
    .listenForWhisper('typing', (data) => window.note('whisper', data));
};
const whisper = ({ name, data }) => {
  window.echo.join(name).whisper('typing', data);
};

describe('browser', () => {
  let stage;
  let browser;
  before(async () => {
    browser = await openBrowser();
    stage = await Stage.open((origin) => ({ allowedOrigins: [origin] }));
  });
  after(async () => {
    await browser?.close();
    await stage?.close();
  });

  test('the page of the README hears what is triggered', async (t) => {
    const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
    const script = await readFile(new URL('../../node_modules/pusher-js/dist/web/pusher.min.js', import.meta.url));
    // As it stands, but for whose server it is.
    const page = /```html\n([^`]*`[^`]*`[^`]*)```/.exec(readme)[1];
    const body = page.replaceAll('6001', stage.server.port).replace('app-key', APP.key);
    const context = await browser.newContext();
    t.after(() => context.close());
    await context.route('https://js.pusher.com/**', (route) => route.fulfill({ body: script, contentType: 'text/javascript' }));
    const tab = await context.newPage();
    // Over a page that did come from this machine, or the browser lets it connect to nothing here.
    await tab.goto(`${stage.application.origin}/`);
    await tab.setContent(body);
    // A `const` of the page's script is visible to expressions of the page, not on `window`.
    await tab.waitForFunction('pusher.channel("orders").subscribed');
    await stage.sdk.trigger('orders', 'shipped', { id: 7 });
    await tab.waitForFunction('document.body.innerText.includes("order 7 has shipped")');
  });

  const listening = async (tab, kind, name, event) => {
    await tab.run(listen, { kind, name, event });
    await tab.noted(`subscribed ${name}`);
  };

  test('echo hears public, private and encrypted events', async (t) => {
    const tab = await openTab(t, browser, stage, { user: ann });
    const name = unique('orders');
    await listening(tab, 'channel', name, 'OrderShipped');
    await stage.sdk.trigger(name, 'App\\Events\\OrderShipped', { id: 1 });
    assert.deepEqual(await tab.noted(`heard ${name}`), { id: 1 });

    await listening(tab, 'private', `${name}.7`, '.order.shipped');
    await stage.sdk.trigger(`private-${name}.7`, 'order.shipped', { id: 2 });
    assert.deepEqual(await tab.noted(`heard ${name}.7`), { id: 2 });

    await listening(tab, 'encryptedPrivate', `${name}.8`, 'OrderShipped');
    await stage.sdk.trigger(`private-encrypted-${name}.8`, 'App\\Events\\OrderShipped', { id: 3 });
    assert.deepEqual(await tab.noted(`heard ${name}.8`), { id: 3 });
  });

  test("echo's reverb broadcaster connects as it does to its own server", async (t) => {
    const tab = await openTab(t, browser, stage, { user: ann, broadcaster: 'reverb' });
    const name = unique('orders');
    await listening(tab, 'private', name, 'OrderShipped');

    await stage.sdk.trigger(`private-${name}`, 'App\\Events\\OrderShipped', { id: 1 });

    assert.deepEqual(await tab.noted(`heard ${name}`), { id: 1 });
  });

  test('echo hears a notification broadcast by laravel', async (t) => {
    const tab = await openTab(t, browser, stage, { user: ann });
    const name = unique('App.Models.User.7');
    await tab.run((channel) => {
      window.echo
        .private(channel)
        .subscribed(() => window.note('subscribed'))
        .notification((notification) => window.note('notification', notification));
    }, name);
    await tab.noted('subscribed');

    await broadcast(stage, APP, {
      name: 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated',
      data: { id: 'a1', type: 'App\\Notifications\\InvoicePaid', total: '9 €' },
      channels: [`private-${name}`],
    });

    assert.deepEqual(await tab.noted('notification'), {
      id: 'a1',
      type: 'App\\Notifications\\InvoicePaid',
      total: '9 €',
    });
  });

  test('echo sees who is here, who joins and who leaves, and two tabs of one user are one member', async (t) => {
    const room = unique('room');
    const [first, second, third] = [
      await openTab(t, browser, stage, { user: ann }),
      await openTab(t, browser, stage, { user: bo }),
      await openTab(t, browser, stage, { user: bo }),
    ];
    await first.run(join, room);
    assert.deepEqual(await first.noted('here'), [{ name: 'Ann' }]);
    await second.run(join, room);
    assert.deepEqual(await second.noted('here'), [{ name: 'Ann' }, { name: 'Bo' }]);
    assert.deepEqual(await first.noted('joining'), { name: 'Bo' });
    await third.run(join, room);
    assert.deepEqual(await third.noted('here'), [{ name: 'Ann' }, { name: 'Bo' }]);

    await second.page.close();
    await third.run(whisper, { name: room, data: { by: 'Bo' } });
    assert.deepEqual(await first.noted('whisper'), { by: 'Bo' });
    assert.deepEqual(await first.all('leaving'), []);

    await third.page.close();
    assert.deepEqual(await first.noted('leaving'), { name: 'Bo' });
    assert.deepEqual(await first.all('joining'), [{ name: 'Bo' }]);
  });

  test('a whisper is not heard by the tab that whispers', async (t) => {
    const room = unique('room');
    const tabs = [await openTab(t, browser, stage, { user: ann }), await openTab(t, browser, stage, { user: bo })];
    for (const tab of tabs) {
      await tab.run(join, room);
      await tab.noted('here');
    }

    for (const tab of tabs) await tab.run(whisper, { name: room, data: 1 });
    for (const tab of tabs) await tab.noted('whisper');

    for (const tab of tabs) assert.deepEqual(await tab.all('whisper'), [1]);
  });

  test('a broadcast to others spares the tab whose socket id it carries', async (t) => {
    const name = unique('orders');
    const tabs = [await openTab(t, browser, stage, { user: ann }), await openTab(t, browser, stage, { user: bo })];
    for (const tab of tabs) await listening(tab, 'private', name, 'OrderShipped');
    const socketId = await tabs[0].run(() => window.echo.socketId());

    const event = { name: 'App\\Events\\OrderShipped', channels: [`private-${name}`] };
    await broadcast(stage, APP, { ...event, data: { n: 1 }, socketId });
    await broadcast(stage, APP, { ...event, data: { n: 2 } });

    assert.deepEqual(await tabs[0].noted(`heard ${name}`), { n: 2 });
    assert.deepEqual(await tabs[1].noted(`heard ${name}`), { n: 1 });
  });

  test('echo signs a user in and hears what is sent to that user', async (t) => {
    const tab = await openTab(t, browser, stage, { user: bo });
    await tab.run(() => {
      const { pusher } = window.echo.connector;
      pusher.user.bind_global((name, data) => window.note(name, data));
      pusher.connection.bind('message', ({ event }) => window.note(event));
      window.echo.connector.signin();
    });
    await tab.noted('pusher:signin_success');

    await stage.sdk.sendToUser(bo.id, 'invoice', { total: 9 });

    assert.deepEqual(await tab.noted('invoice'), { total: 9 });
  });

  test('echo tells of a private channel that is refused', async (t) => {
    const tab = await openTab(t, browser, stage, { user: ann });
    await tab.run(() => {
      for (const name of ['forbidden', 'forged']) {
        window.echo.private(name).error(({ type, status }) => window.note(name, { type, status }));
      }
    });

    assert.deepEqual(await tab.noted('forbidden'), { type: 'AuthError', status: 403 });
    assert.deepEqual(await tab.noted('forged'), { type: 'AuthError', status: 401 });
  });

  test('a page of an allowed origin connects', async (t) => {
    const tab = await openTab(t, browser, stage, { key: FENCED_APP.key });
    await tab.noted('state connected');
  });

  test('a page of any other origin is refused with 4009 and does not try again', async (t) => {
    const { port } = new URL(stage.application.origin);
    const elsewhere = { server: stage.server, application: { origin: `http://localhost:${port}` } };
    const tab = await openTab(t, browser, elsewhere, { key: FENCED_APP.key });

    await tab.noted('state disconnected');

    const [{ error }] = await tab.all('connection error');
    assert.equal(error.data.code, 4009);
    assert.deepEqual(await tab.all('state connected'), []);
  });

  test('an unknown key reaches the page as 4001', async (t) => {
    const tab = await openTab(t, browser, stage, { key: 'nobody' });

    await tab.noted('state disconnected');

    const [{ error }] = await tab.all('connection error');
    assert.equal(error.data.code, 4001);
    assert.equal((await tab.all('socket closed')).length, 1);
  });

  // The last of this file: it restarts the server that the others share.
  test('a page comes back to a restarted server and hears again', async (t) => {
    const name = unique('orders');
    const tab = await openTab(t, browser, stage, { user: ann });
    await tab.noted('state connected');
    await listening(tab, 'private', name, 'OrderShipped');

    await stage.server.stop();
    assert.deepEqual(await tab.noted('socket closed'), { code: 4200, wasClean: true });
    await stage.server.startAgain();
    await tab.noted('state connected', COME_BACK_MS);
    await tab.noted(`subscribed ${name}`, COME_BACK_MS);
    await stage.sdk.trigger(`private-${name}`, 'App\\Events\\OrderShipped', { id: 9 });

    assert.deepEqual(await tab.noted(`heard ${name}`), { id: 9 });
  });
});
