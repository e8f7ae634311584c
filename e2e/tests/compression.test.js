// permessage-deflate with the two clients that offer it unasked: the npm package ws, and Chromium.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { openBrowser, openTab } from '../harness/browser.js';
import { connected, rawSocket, subscribed } from '../harness/client.js';
import { Stage, unique } from '../harness/stage.js';

const ann = { id: '7', info: { name: 'Ann' } };
const long = { lines: Array.from({ length: 60 }, (_, number) => ({ number, name: 'Desk lamp, brushed steel' })) };
const bo = { id: '8', info: { name: 'Bo', about: 'x'.repeat(900) } };

describe('compression', () => {
  let stage;
  let browser;
  before(async () => {
    browser = await openBrowser();
    stage = await Stage.open(() => ({ compression: true }));
  });
  after(async () => {
    await browser?.close();
    await stage?.close();
  });

  test('ws hears the same with and without, and takes fewer bytes with', async (t) => {
    const name = unique('orders');
    const compressed = await rawSocket(t, stage);
    const plain = await rawSocket(t, stage, { perMessageDeflate: false });
    assert.match(String(compressed.extensions), /permessage-deflate/);
    assert.equal(String(plain.extensions), '');
    for (const socket of [compressed, plain]) {
      await socket.next('pusher:connection_established');
      socket.send({ event: 'pusher:subscribe', data: { channel: name } });
      await socket.next('pusher_internal:subscription_succeeded');
    }
    const before = [compressed.received(), plain.received()];
    for (const data of [long, { short: true }, long]) await stage.sdk.trigger(name, 'shipped', data);

    for (const data of [long, { short: true }, long]) {
      const both = [await compressed.next('shipped'), await plain.next('shipped')];
      assert.deepEqual(both[0], both[1]);
      assert.deepEqual(JSON.parse(both[0].data), data);
    }
    const [few, many] = [compressed.received() - before[0], plain.received() - before[1]];
    assert.ok(few * 3 < many, `${few} bytes instead of ${many}`);
  });

  test('what ws compresses is understood, and pusher-js hears it', async (t) => {
    const pusher = await connected(t, stage, { user: ann });
    const room = unique('presence-room');
    const listener = await subscribed(pusher, room);
    const speaker = await rawSocket(t, stage);
    const { data } = await speaker.next('pusher:connection_established');
    const answer = stage.sdk.authorizeChannel(JSON.parse(data).socket_id, room, { user_id: '8', user_info: bo.info });
    // The event has over a kilobyte, which is from where ws compresses.
    speaker.send({ event: 'pusher:subscribe', data: { channel: room, ...answer } });
    await speaker.next('pusher_internal:subscription_succeeded');
    speaker.send({ event: 'client-said', channel: room, data: long });

    const added = await listener.events.next(({ name }) => name === 'pusher:member_added', 'the new member');
    assert.deepEqual(added.data, { id: '8', info: bo.info });
    const said = await listener.events.next(({ name }) => name === 'client-said', 'the client event');
    assert.deepEqual(said.data, long);
  });

  test('pusher-js in chromium hears every kind of event', async (t) => {
    const tab = await openTab(t, browser, stage, { user: ann });
    const name = unique('orders');
    await tab.run((channels) => {
      const { pusher } = window.echo.connector;
      for (const channel of channels) {
        const note = (event, data) => window.note(`${event} ${channel}`, data?.members ? data.members : data);
        pusher.subscribe(channel).bind_global(note);
      }
      pusher.signin();
      pusher.user.bind_global((event, data) => window.note(`${event} user`, data));
    }, [name, `private-${name}`, `private-encrypted-${name}`, `presence-${name}`, `cache-${name}`]);
    for (const kind of ['', 'private-', 'private-encrypted-', 'presence-', 'cache-']) {
      await tab.noted(`pusher:subscription_succeeded ${kind}${name}`);
      await stage.sdk.trigger(`${kind}${name}`, 'shipped', long);
      assert.deepEqual(await tab.noted(`shipped ${kind}${name}`), long);
    }
    const extensions = await tab.run(() => window.echo.connector.pusher.connection.connection.transport.socket.extensions);
    assert.match(extensions, /^permessage-deflate; server_no_context_takeover; client_no_context_takeover$/);

    const other = await connected(t, stage, { user: bo });
    const { channel } = await subscribed(other, `presence-${name}`);
    assert.deepEqual(await tab.noted(`pusher:member_added presence-${name}`), { id: '8', info: bo.info });
    channel.trigger('client-typing', long);
    assert.deepEqual(await tab.noted(`client-typing presence-${name}`), long);

    // And the other way: Chromium compresses what it sends.
    const heard = new Promise((resolve) => channel.bind('client-seen', resolve));
    await tab.run(([channel, data]) => window.echo.connector.pusher.channel(channel).trigger('client-seen', data), [
      `presence-${name}`,
      long,
    ]);
    assert.deepEqual(await heard, long);

    await stage.sdk.sendToUser('7', 'told', long);
    assert.deepEqual(await tab.noted('told user'), long);
  });
});
