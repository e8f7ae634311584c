/**
 * The example shop as somebody comes upon it: signing in, errors, a small phone, the keyboard, a browser without scripts.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { ShopStage, open } from '../harness/shop.js';

// As wide as the smallest phones that are still sold.
const SMALL_PHONE = { width: 360, height: 740 };
// What `attempts.rs` allows for one e-mail.
const GUESSES_AT_ONCE = 5;

const PAGES = [
  '/orders',
  '/documents',
  '/documents/1',
  '/teams',
  '/teams/1',
  '/teams/2',
  '/operations',
  '/operations/authorizations',
  '/operations/comparison',
  '/operations/outbox',
  '/nothing/here',
];

describe("the shop's pages", () => {
  let stage;
  before(async () => {
    stage = await ShopStage.open();
  });
  after(() => stage?.close());

  /** A browser of its own, without anybody signed in. */
  async function stranger(t, options = {}) {
    const context = await stage.browser.newContext({ baseURL: stage.shop.origin, ...options });
    t.after(() => context.close());
    return context.newPage();
  }

  async function signIn(page, name, password) {
    await page.getByLabel('E-mail').fill(`${name}@shop.test`);
    await page.getByLabel('Password').fill(password);
    const answer = page.waitForResponse((response) => response.request().method() === 'POST');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    return answer;
  }

  test('one e-mail has so many guesses, and then whoever tries again is told when', async (t) => {
    const page = await stranger(t);
    await page.goto('/sign-in');
    for (let guess = 0; guess < GUESSES_AT_ONCE; guess += 1) {
      assert.equal((await signIn(page, 'dara', `guess ${guess}`)).status(), 422);
      await page.getByRole('alert').waitFor();
    }
    // It is too late for the right one, too: whoever guesses must not learn that it was.
    const refused = await signIn(page, 'dara', 'campanile');
    assert.equal(refused.status(), 429);
    const seconds = Number(refused.headers()['retry-after']);
    assert.ok(seconds > 0 && seconds <= 30, `again in ${seconds} s`);
    await page.getByRole('alert').filter({ hasText: `try again in ${seconds} s.` }).waitFor();
    assert.equal(await page.getByLabel('E-mail').inputValue(), 'dara@shop.test');
    assert.equal((await signIn(page, 'ben', 'campanile')).status(), 303);
    await page.waitForURL('**/orders');
  });

  test('what is not there, not allowed or not understood is a page for people and a sentence for scripts', async (t) => {
    const ada = await stage.visit(t, 'ada');
    for (const [path, status, title] of [
      ['/nothing/here', 404, 'Not Found'],
      ['/documents/3', 404, 'Not Found'],
      ['/documents/x', 400, 'Bad Request'],
      ['/operations', 403, 'Forbidden'],
    ]) {
      assert.equal((await ada.goto(path)).status(), status, path);
      await ada.getByRole('heading', { name: title }).waitFor();
      const answer = await ada.request.get(path, { headers: { Accept: 'application/json' } });
      assert.equal(answer.status(), status, path);
      assert.doesNotMatch(await answer.text(), /</, path);
    }
    await ada.getByRole('link', { name: 'Back to the shop' }).click();
    await ada.waitForURL('**/orders');
  });

  test('no page is wider than a small phone', async (t) => {
    const olive = await stage.visit(t, 'olive');
    await olive.setViewportSize(SMALL_PHONE);
    for (const path of PAGES) {
      await olive.goto(path);
      // The longest word that the head of a page has to say.
      await olive.evaluate(() => document.querySelector('#connection .text')?.replaceChildren('Reconnecting'));
      const width = await olive.evaluate(() => document.scrollingElement.scrollWidth);
      assert.equal(width, SMALL_PHONE.width, path);
    }
    const page = await stranger(t, { viewport: SMALL_PHONE });
    await page.goto('/sign-in');
    assert.equal(await page.evaluate(() => document.scrollingElement.scrollWidth), SMALL_PHONE.width);
  });

  test('whatever the keyboard reaches is seen to be reached', async (t) => {
    const olive = await stage.visit(t, 'olive');
    for (const path of PAGES) {
      await olive.goto(path);
      const invisible = await olive.evaluate(() => {
        const reached = [...document.querySelectorAll('a, button, input, select, textarea, [tabindex="0"]')];
        const shown = reached.filter((element) => !element.disabled && element.type !== 'hidden' && element.checkVisibility());
        return shown
          .filter((element) => {
            element.focus({ focusVisible: true });
            // A switch shows it at the words beside the input.
            const marked = [element, element.nextElementSibling].filter(Boolean);
            return marked.every((each) => getComputedStyle(each).outlineStyle === 'none');
          })
          .map((element) => element.outerHTML.slice(0, 80));
      });
      assert.deepEqual(invisible, [], path);
    }
  });

  test('without scripts everything can be done, and nothing pretends to be live', async (t) => {
    const page = await stranger(t, { javaScriptEnabled: false });
    await page.goto('/sign-in');
    await signIn(page, 'ada', 'campanile');
    await page.waitForURL('**/orders');
    await page.locator('noscript .notice').waitFor();
    assert.ok(await page.locator('#connection').isHidden());
    assert.ok(await page.locator('#way').isHidden());
    const before = await page.locator('#orders .order').count();
    await page.getByRole('button', { name: 'Place order' }).click();
    await page.waitForURL('**/orders');
    assert.equal(await page.locator('#orders .order').count(), before + 1);
    await page.goto('/documents/1');
    await page.getByLabel('Your comment').fill('Written without a script.');
    await page.getByRole('button', { name: 'Comment' }).click();
    await page.locator('#comments', { hasText: 'Written without a script.' }).waitFor();
  });

  test('the outbox is a page of its own, which says what was delivered', async (t) => {
    const olive = await stage.visit(t, 'olive');
    await open(olive, '/operations');
    const order = await olive.locator('[data-parcel]').first().getAttribute('data-parcel');
    await olive.getByRole('button', { name: `Ship order ${order}`, exact: true }).click();
    await olive.locator(`[data-parcel="${order}"]`).waitFor({ state: 'detached' });
    const opened = olive.context().waitForEvent('page');
    await olive.getByRole('link', { name: 'Outbox' }).click();
    const outbox = await opened;
    await outbox.getByRole('rowheader', { name: 'orders' }).waitFor();
  });
});
