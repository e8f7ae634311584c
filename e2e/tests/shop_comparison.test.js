/**
 * The example shop's comparison of polling and listening, with a small crowd.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ShopStage } from '../harness/shop.js';

describe('the comparison', () => {
  let stage;
  before(async () => {
    stage = await ShopStage.open();
  });
  after(() => stage?.close());

  test('a comparison measures both ways, and listening asks less', async (t) => {
    const olive = await stage.visit(t, 'olive');
    await olive.goto('/operations/comparison');
    await olive.getByLabel('Customers').fill('40');
    await olive.getByLabel('Seconds each way').fill('6');
    await olive.getByRole('button', { name: 'Measure' }).click();
    await olive.locator('#plots').waitFor({ timeout: 45_000 });
    const row = (name) => olive.locator('tr', { hasText: name }).locator('td').allInnerTexts();
    const [polling, live] = (await row('Requests per second')).map(Number);
    assert.ok(polling > 4 && live < polling / 4, `${polling} and ${live} requests per second`);
    assert.deepEqual(await row('Orders shipped and seen'), ['4', '4']);
    assert.deepEqual(await row('Failures'), ['0', '0']);
  });
});
