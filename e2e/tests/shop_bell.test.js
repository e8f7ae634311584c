/**
 * The example shop's bell: what somebody finds who was away, and what is read in one place and known in the others.
 */

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { APP, SERVER_TOKEN } from '../harness/config.js';
import { ShopStage, isLive, open, placeOrder, shipAs } from '../harness/shop.js';
import { within } from '../harness/wait.js';

// The first of the demo users.
const ADA = 1;
const PHONE = { width: 360, height: 740 };
const PICTURES = fileURLToPath(new URL('../../target/shop-pictures', import.meta.url));

describe("the shop's bell", () => {
  let stage;
  before(async () => {
    await mkdir(PICTURES, { recursive: true });
    stage = await ShopStage.open();
  });
  after(() => stage?.close());

  const visit = (t, name) => stage.visit(t, name);
  const bell = (page, unread) =>
    page.getByRole('button', { name: `Notifications, ${unread || 'none'} unread`, exact: true });
  const panel = (page) => page.getByRole('dialog', { name: 'Notifications' });
  const item = (page, title) => panel(page).getByRole('listitem').filter({ hasText: title });

  /** Waits until a user's inbox is as it should be. */
  const stored = async (user, isSo) => {
    const url = `${stage.server.origin}/apps/${APP.id}/users/${user}/inbox`;
    const headers = { authorization: `Bearer ${SERVER_TOKEN}` };
    const waiting = async () => {
      while (!isSo((await (await fetch(url, { headers })).json()).notifications)) await pause(20);
    };
    await within(waiting(), () => `the inbox of user ${user} to be as it should be`);
  };

  const comment = async (page, text) => {
    await page.getByLabel('Your comment').fill(text);
    await page.getByRole('button', { name: 'Comment' }).click();
    await page.locator('#comments', { hasText: text }).waitFor();
  };

  test('who was away comes back and finds on the bell what has come meanwhile', async (t) => {
    const [ada, ben, olive] = await Promise.all(['ada', 'ben', 'olive'].map((name) => visit(t, name)));
    await bell(ada, 0).waitFor();
    const order = await placeOrder(ada);
    const context = ada.context();
    await ada.close();

    await shipAs(olive, order);
    await open(ben, '/documents/1');
    await comment(ben, 'The cover is right.');
    await comment(ben, 'And so is page nine.');
    // All of it is stored before she comes: what she then sees is what the server says to whoever subscribes.
    await stored(ADA, (rows) => rows.length === 2 && rows.some((row) => row.group_count === 2));

    const back = await context.newPage();
    await open(back, '/documents');
    await bell(back, 2).click();
    await item(back, 'is on its way').filter({ hasText: `FP${order.padStart(8, '0')}` }).waitFor();
    const gathered = item(back, 'Ben Okafor has commented on Autumn catalogue');
    assert.equal(await gathered.count(), 1, 'comments on one document are gathered while they are unread');
    assert.match(await gathered.innerText(), /page nine/);
    await back.screenshot({ path: `${PICTURES}/bell-light.png` });
    await back.emulateMedia({ colorScheme: 'dark' });
    await back.screenshot({ path: `${PICTURES}/bell-dark.png` });

    await gathered.getByRole('link').click();
    await back.waitForURL('**/documents/1');
    await bell(back, 1).waitFor();
    // Who wrote them is not told of them.
    await bell(ben, 0).waitFor();
  });

  test('what is read in one tab is read in the other, and on the phone', async (t) => {
    const [chloe, phone, olive] = await Promise.all(['chloe', 'chloe', 'olive'].map((name) => visit(t, name)));
    await phone.setViewportSize(PHONE);
    const order = await placeOrder(chloe);
    const second = await chloe.context().newPage();
    await open(second, '/teams');
    await shipAs(olive, order);
    for (const page of [chloe, second, phone]) await bell(page, 1).waitFor();

    await phone.screenshot({ path: `${PICTURES}/bell-phone-closed.png` });
    await bell(phone, 1).click();
    await item(phone, 'is on its way').waitFor();
    await phone.screenshot({ path: `${PICTURES}/bell-phone.png` });
    await phone.emulateMedia({ colorScheme: 'dark' });
    await phone.screenshot({ path: `${PICTURES}/bell-phone-dark.png` });
    await phone.keyboard.press('Escape');

    await bell(chloe, 1).click();
    await panel(chloe).getByRole('button', { name: 'Mark all as read' }).click();
    for (const page of [chloe, second, phone]) await bell(page, 0).waitFor();
    // It is so at the server, not only in the tabs.
    await second.reload();
    await isLive(second);
    await bell(second, 0).waitFor();
  });

  test('a notification is there once, though the shop was killed', async (t) => {
    const [dara, olive] = await Promise.all(['dara', 'olive'].map((name) => visit(t, name)));
    const order = await placeOrder(dara);
    await stage.shop.kill();
    await stage.shop.startAgain(['--without-courier']);
    await shipAs(olive, order);
    await stage.shop.kill();
    await bell(dara, 0).waitFor();
    await stage.shop.startAgain();
    await bell(dara, 1).waitFor();
    await bell(dara, 1).click();
    await item(dara, 'is on its way').first().waitFor();
    assert.equal(await item(dara, 'is on its way').count(), 1);
  });

  test('while a page polls, its bell rings on', async (t) => {
    const [ben, olive] = await Promise.all(['ben', 'olive'].map((name) => visit(t, name)));
    const order = await placeOrder(ben);
    await ben.getByRole('radio', { name: 'Live' }).press('ArrowRight');
    await ben.locator('#polling-note').waitFor();
    const before = await ben.locator('campanile-inbox').evaluate((element) => element.inbox.getSnapshot().unread);
    await shipAs(olive, order);
    await bell(ben, before + 1).waitFor();
  });
});
