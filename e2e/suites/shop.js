/**
 * The example shop in Chromium: orders, whoever owns them, and whoever ships them.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ShopStage, placeOrder, shipAs } from '../harness/shop.js';

export function theShop(database) {
  describe(`the shop, on ${database}`, () => {
    let stage;
    before(async () => {
      stage = await ShopStage.open(database);
    });
    after(() => stage?.close());

    const visit = (t, name) => stage.visit(t, name);

    test('an order that is shipped shows at its owner, and at nobody else', async (t) => {
      const [ada, ben, olive] = await Promise.all(['ada', 'ben', 'olive'].map((name) => visit(t, name)));
      const order = await placeOrder(ada);
      await shipAs(olive, order);
      await ada.locator(`[data-order="${order}"][data-status="shipped"]`).waitFor();
      await ada.locator('.toast', { hasText: `FP${order.padStart(8, '0')}` }).waitFor();
      // Whatever had been on its way to him has come by the time that his own has.
      const own = await placeOrder(ben);
      await shipAs(olive, own);
      await ben.locator('.toast').waitFor();
      assert.deepEqual(await ben.locator('.toast').count(), 1);
      assert.match(await ben.locator('.toast').innerText(), new RegExp(`FP${own.padStart(8, '0')}`));
    });

    test('a thousand orders leave at once', async (t) => {
      const olive = await visit(t, 'olive');
      await olive.goto('/operations');
      const shipped = async () => Number(await olive.locator('#shipped').innerText());
      const earlier = await shipped();
      await olive.getByRole('button', { name: 'Ship 1000 at once' }).click();
      await olive.waitForFunction((count) => Number(document.querySelector('#shipped')?.textContent) === count, earlier + 1000);
    });

    test('by polling, a page learns of its order, too', async (t) => {
      const [ada, olive] = await Promise.all(['ada', 'olive'].map((name) => visit(t, name)));
      const order = await placeOrder(ada);
      await ada.getByRole('radio', { name: 'Live' }).press('ArrowRight');
      await ada.locator('#polling-note').waitFor();
      await shipAs(olive, order);
      await ada.locator(`[data-order="${order}"][data-status="shipped"]`).waitFor();
      assert.equal(await ada.locator('#poll-news').innerText(), '1');
    });

    test('a form of another page is refused', async (t) => {
      const ada = await visit(t, 'ada');
      const forged = await ada.request.post('/orders', { form: { item: 'Brass ruler' } });
      assert.equal(forged.status(), 403);
      const wrong = await ada.request.post('/orders', { form: { item: 'Brass ruler', _token: '0'.repeat(64) } });
      assert.equal(wrong.status(), 403);
    });

    test('only who runs the shop sees its operations', async (t) => {
      const ada = await visit(t, 'ada');
      for (const path of ['/operations', '/operations/authorizations', '/operations/comparison', '/operations/outbox']) {
        assert.equal((await ada.request.get(path)).status(), 403, path);
      }
      const olive = await visit(t, 'olive');
      await olive.goto('/operations/authorizations');
      await olive.getByText('private-user.{id}').waitFor();
      assert.equal((await olive.request.get('/operations/outbox')).status(), 200);
    });
  });
}
