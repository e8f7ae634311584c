/**
 * The example shop while its server, or the shop itself, goes away: nothing that was committed is lost.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ShopStage, isLive, open, placeOrder, shipAs } from '../harness/shop.js';

export function itsOutages(database) {
  describe(`the shop and its outages, on ${database}`, () => {
    let stage;
    before(async () => {
      stage = await ShopStage.open(database);
    });
    after(() => stage?.close());

    const visit = (t, name) => stage.visit(t, name);

    test('the server is restarted, and everything goes on', async (t) => {
      const [ada, ben, olive] = await Promise.all(['ada', 'ben', 'olive'].map((name) => visit(t, name)));
      const order = await placeOrder(ada);
      await open(ben, '/documents/1');
      await stage.server.stop();
      await ada.locator('#connection:not([data-state="live"])').waitFor();
      // Nobody listens, and there is nobody to deliver to: the page asks for it when it is back.
      await shipAs(olive, order);
      await stage.server.startAgain();
      await Promise.all([isLive(ada), isLive(ben)]);
      await ada.locator(`[data-order="${order}"][data-status="shipped"]`).waitFor();
      await ada.locator('.toast', { hasText: `FP${order.padStart(8, '0')}` }).waitFor();
      await shipAs(olive, '2');
      await ada.locator('.toast', { hasText: 'FP00000002' }).waitFor();
      await ben.locator('#here li[title="Ben Okafor"]').waitFor();
    });

    test('the shop is killed between a commit and its push, and the event still arrives', async (t) => {
      const [ada, olive] = await Promise.all(['ada', 'olive'].map((name) => visit(t, name)));
      const order = await placeOrder(ada);
      // Without a courier nothing can have been pushed before the kill.
      await stage.shop.kill();
      await stage.shop.startAgain(['--without-courier']);
      await shipAs(olive, order);
      assert.equal(await ada.locator('.toast').count(), 0);
      await stage.shop.kill();
      await stage.shop.startAgain();
      await ada.locator('.toast', { hasText: `FP${order.padStart(8, '0')}` }).waitFor();
      await ada.locator(`[data-order="${order}"][data-status="shipped"]`).waitFor();
    });
  });
}
