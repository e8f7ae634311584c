/** `<campanile-inbox>` in Chromium, by keyboard, by what a screen reader is told, and by eye; on any server. */

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { bell, focused, names, panel, press, said, shows, tabs } from '../stage/browser.js';

/** Contrast of each text with its ground, as WCAG reckons it. */
const faint = (page) =>
  page.evaluate(() => {
    const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => {
      const [r, g, b] = parse(colour).map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (element) => {
      for (let at = element; at; at = at.parentElement) {
        const { backgroundColor } = getComputedStyle(at);
        if (parse(backgroundColor)[3] !== 0) return backgroundColor;
      }
      return getComputedStyle(document.documentElement).colorScheme;
    };
    const root = document.querySelector('campanile-inbox').shadowRoot;
    const found = [];
    let looked = 0;
    for (const element of root.querySelectorAll('[part=badge], dialog *')) {
      const hasText = [...element.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
      if (!hasText || !element.checkVisibility() || element.matches('.spoken')) continue;
      looked++;
      const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
      const contrast = (a + 0.05) / (b + 0.05);
      if (contrast < 4.5) found.push(`${element.textContent}: ${contrast.toFixed(2)}`);
    }
    return { looked, found };
  });

const PICTURES = fileURLToPath(new URL('../../../../target/inbox-pictures/', import.meta.url));

export function elementSuite(stage, browser) {
  const { server } = stage;
  const { notify, tabWith } = tabs(stage, browser);

test('everything can be done by keyboard, and focus is kept and given back', async (t) => {
  const { page, user } = await tabWith(t, ['First', ['Second', { action_url: '/documents/2' }], 'Third']);
  await page.locator('#before').focus();
  await press(page, 'Tab');
  assert.equal(await focused(page), 'Notifications, 3 unread');
  await press(page, 'Enter');
  assert.equal(await bell(page).getAttribute('aria-expanded'), 'true');
  assert.equal(await focused(page), 'Notifications', 'focus is on the title of the panel');
  await page.locator('campanile-inbox li').nth(2).waitFor();
  const order = [];
  for (let n = 0; n < 17; n++) {
    await press(page, 'Tab');
    order.push(await focused(page));
  }
  assert.deepEqual(order, [
    'Preferences', 'Close', 'All', 'Unread', 'Archived', 'Mark all as read', 'Archive read',
    'Mark as read: Third', 'Snooze: Third', 'Archive: Third',
    'Second', 'Mark as read: Second', 'Snooze: Second', 'Archive: Second',
    'Mark as read: First', 'Snooze: First', 'Archive: First',
  ]);
  // Archive the last: its neighbour takes the focus. Archive all: the title does.
  await press(page, 'Enter');
  await shows(page, 'two', ({ notifications }) => notifications.length === 2);
  assert.equal(await focused(page), 'Archive: Second');
  await press(page, 'Shift+Tab', 'Shift+Tab', 'Space');
  await shows(page, 'it read', ({ unread }) => unread === 1);
  assert.equal(await focused(page), 'Mark as unread: Second');
  // Something comes in above: focus stays.
  await notify(user, 'Fourth');
  await shows(page, 'it', ({ notifications }) => notifications.length === 3);
  assert.equal(await focused(page), 'Mark as unread: Second');
  // Snooze: its choices open, Escape closes only them.
  await press(page, 'Tab', 'Enter');
  assert.equal(await focused(page), 'For an hour');
  await press(page, 'Escape');
  assert.equal(await focused(page), 'Snooze: Second');
  assert.equal(await panel(page).isVisible(), true);
  await press(page, 'Enter', 'Tab', 'Enter');
  await shows(page, 'it asleep', ({ notifications }) => notifications.length === 2);
  assert.equal(await focused(page), 'Snooze: Third');
  await press(page, 'Escape');
  assert.equal(await panel(page).isVisible(), false);
  assert.equal(await bell(page).getAttribute('aria-expanded'), 'false');
  assert.equal(await focused(page), 'Notifications, 2 unread', 'Escape gives focus back to the bell');
  // Leaving by Tab closes it, and focus goes on.
  await press(page, 'Enter', 'Shift+Tab', 'Shift+Tab');
  assert.equal(await focused(page), 'Before');
  assert.equal(await panel(page).isVisible(), false);
});

test('archiving the last one puts focus on the title', async (t) => {
  const { page } = await tabWith(t, ['Only']);
  await bell(page).click();
  await page.locator('campanile-inbox').getByRole('button', { name: 'Archive: Only' }).focus();
  await press(page, 'Enter');
  await page.getByText('Nothing here yet.').waitFor();
  assert.equal(await focused(page), 'Notifications');
});

test('a screen reader is told what is there', async (t) => {
  const { page } = await tabWith(t, [
    ['Invoice paid', { body: 'Number 7', action_url: '/invoices/7', actions: [{ label: 'Open', url: '/invoices/7' }] }],
    'Welcome',
  ]);
  const host = page.locator('campanile-inbox');
  assert.equal(await host.ariaSnapshot(), ['- button "Notifications, 2 unread"', '- status'].join('\n'));
  await bell(page).click();
  await page.getByText('Invoice paid').waitFor();
  assert.equal(
    await host.ariaSnapshot(),
    `- button "Notifications, 2 unread" [expanded]
- status
- dialog "Notifications":
  - heading "Notifications" [level=2]
  - button "Preferences"
  - button "Close"
  - group "Show":
    - button "All" [pressed]
    - button "Unread"
    - button "Archived"
  - button "Mark all as read"
  - button "Archive read"
  - list:
    - listitem:
      - text: "Unread: Welcome"
      - time: now
      - 'button "Mark as read: Welcome"'
      - 'button "Snooze: Welcome"'
      - 'button "Archive: Welcome"'
    - listitem:
      - text: "Unread:"
      - link "Invoice paid":
        - /url: ${stage.application.origin}/invoices/7
      - paragraph: Number 7
      - link "Open":
        - /url: ${stage.application.origin}/invoices/7
      - time: now
      - 'button "Mark as read: Invoice paid"'
      - 'button "Snooze: Invoice paid"'
      - 'button "Archive: Invoice paid"'`,
  );
});

test('arrivals are said, several at once as a number', async (t) => {
  const { page, user } = await tabWith(t, []);
  await notify(user, 'Lunch is ready');
  await page.getByRole('status').getByText('New notification: Lunch is ready').waitFor({ state: 'attached' });
  assert.equal(await bell(page).getAttribute('aria-label'), 'Notifications, 1 unread');
  await Promise.all(['a', 'b', 'c'].map((title) => notify(user, title)));
  await page.getByRole('status').getByText('3 new notifications').waitFor({ state: 'attached' });
  assert.equal(await said(page), '3 new notifications');
  assert.equal(await page.locator('campanile-inbox [part=badge]').textContent(), '4');
});

test('opening the panel is to have seen what is in it, not to have read it', async (t) => {
  const { page, user } = await tabWith(t, ['a', 'b']);
  assert.equal((await server.state(user)).unseen, 2);
  await bell(page).click();
  await shows(page, 'all seen', ({ unseen, unread }) => unseen === 0 && unread === 2);
  await notify(user, 'c');
  await shows(page, 'that as well', ({ unseen, unread, notifications }) => unseen === 0 && unread === 3 && notifications.length === 3);
});

test('following a link reads the notification, and a page may take it over', async (t) => {
  const { page, user } = await tabWith(t, [['Report', { action_url: '/#report' }]]);
  await page.evaluate(() => {
    window.opened = [];
    document.addEventListener('campanile-open', (event) => {
      window.opened.push(event.detail.url);
      if (window.takes) event.preventDefault();
    });
    window.takes = true;
  });
  await bell(page).click();
  await page.getByRole('link', { name: 'Report' }).click();
  await shows(page, 'it read', ({ unread }) => unread === 0);
  assert.deepEqual(await page.evaluate(() => window.opened), [`${stage.application.origin}/#report`]);
  assert.equal(new URL(page.url()).hash, '');
  assert.equal(await panel(page).isVisible(), false, 'the application shows something else now');
  await page.evaluate(() => (window.takes = false));
  await bell(page).click();
  await page.getByRole('link', { name: 'Report' }).click();
  await page.waitForURL(/#report$/);
  assert.equal((await server.state(user)).unread, 0);
});

test('the filters show what is unread or archived, and older pages are fetched', async (t) => {
  const { page, user } = await tabWith(t, Array.from({ length: 25 }, (_, n) => `n${n + 1}`));
  await bell(page).click();
  await page.locator('campanile-inbox li').nth(19).waitFor();
  await page.getByRole('button', { name: 'Show older' }).click();
  await page.locator('campanile-inbox li').nth(24).waitFor();
  assert.equal(await page.getByRole('button', { name: 'Show older' }).isVisible(), false);
  await page.getByRole('button', { name: 'Mark as read: n25', exact: true }).click();
  await page.getByRole('button', { name: 'Archive read' }).click();
  await shows(page, 'it gone', ({ notifications }) => notifications.length === 24);
  await page.getByRole('button', { name: 'Archived', exact: true }).click();
  await shows(page, 'the archive', ({ notifications }) => notifications.length === 1);
  assert.deepEqual(await names(page), ['n25']);
  await page.getByRole('button', { name: 'Move to inbox: n25' }).click();
  await page.getByText('Nothing is archived.').waitFor();
  await page.getByRole('button', { name: 'Unread', exact: true }).click();
  await page.getByRole('button', { name: 'Mark all as read' }).click();
  await page.getByText('You have read everything.').waitFor();
  assert.equal((await server.state(user)).unread, 0);
});

test('preferences are changed by checkboxes; what is required is fixed', async (t) => {
  await server.putCategory('comments', { label: 'Comments', default: { mail: false }, required: ['inbox'] });
  const { page } = await tabWith(t, []);
  await bell(page).click();
  await page.getByRole('button', { name: 'Preferences' }).click();
  const comments = page.getByRole('group', { name: 'Comments' });
  await comments.waitFor();
  assert.equal(await focused(page), 'Preferences');
  assert.equal(await comments.getByLabel('Inbox').isDisabled(), true);
  assert.equal(await comments.getByLabel('Mail').isChecked(), false);
  await comments.getByLabel('Mail').focus();
  await press(page, 'Space');
  await stage.until('the server', () => page.evaluate(async () => (await window.inbox.preferences()).find(({ category }) => category === 'comments').channels.mail));
  await press(page, 'Escape');
  assert.equal(await focused(page), 'Preferences', 'Escape goes back one step');
  assert.equal(await panel(page).isVisible(), true);
});

test('texts can be replaced, and ages follow the language of the page', async (t) => {
  const texts = { title: 'Mitteilungen', close: 'Schließen' };
  const { page } = await tabWith(t, ['Hallo'], { texts });
  await page.evaluate(() => {
    document.documentElement.lang = 'de';
    document.querySelector('campanile-inbox').texts = {
      ...document.querySelector('campanile-inbox').texts,
      bell: (unread) => `Mitteilungen, ${unread} ungelesen`,
    };
  });
  assert.equal(await bell(page).getAttribute('aria-label'), 'Mitteilungen, 1 ungelesen');
  await bell(page).click();
  await page.getByRole('dialog', { name: 'Mitteilungen' }).getByText('jetzt').waitFor();
  await page.getByRole('button', { name: 'Schließen' }).click();
  assert.equal(await focused(page), 'Mitteilungen, 1 ungelesen');
});

test('on a phone the panel covers the page and keeps focus', async (t) => {
  const { page } = await tabWith(t, ['a'], { context: { viewport: { width: 375, height: 667 } } });
  await bell(page).click();
  await page.locator('campanile-inbox li').waitFor();
  assert.deepEqual(await panel(page).boundingBox(), { x: 0, y: 0, width: 375, height: 667 });
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 375);
  for (let n = 0; n < 15; n++) {
    await press(page, 'Tab');
    assert.notEqual(await focused(page), 'After');
  }
  const small = await page.locator('campanile-inbox dialog button:visible').evaluateAll((buttons) =>
    buttons.filter((button) => button.getBoundingClientRect().height < 44).map(({ ariaLabel, textContent }) => ariaLabel ?? textContent));
  assert.deepEqual(small, [], 'a finger needs 44 pixels');
  await press(page, 'Escape');
  assert.equal(await panel(page).isVisible(), false);
  assert.equal(await focused(page), 'Notifications, 1 unread');
});

test('light and dark, wide and on a phone, every text stands out from its ground', async (t) => {
  mkdirSync(PICTURES, { recursive: true });
  await server.putCategory('invoices', { label: 'Invoices', default: {}, required: ['inbox', 'mail'] });
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, viewport] of [['wide', { width: 900, height: 720 }], ['phone', { width: 375, height: 720 }]]) {
      const { page } = await tabWith(t, [
        ['Ines commented on “Budget 2026”', { body: 'Could you look at the second table? The sums in the last column do not add up, and I would like to send it off today.', action_url: '/d/1' }],
        ['Your export is ready', { actions: [{ label: 'Download', url: '/x' }, { label: 'All exports', url: '/y' }] }],
        ['A-title-without-any-space-that-is-so-long-that-it-has-to-be-broken-somewhere-in-the-middle', { digest: 'g' }],
        ['Five people joined', { digest: 'team' }],
        ['Six people joined', { digest: 'team' }],
      ], { context: { colorScheme, viewport } });
      await page.evaluate(async () => {
        await window.inbox.load();
        await window.inbox.read(window.inbox.getSnapshot().notifications.find(({ title }) => title.startsWith('Your export')).id);
      });
      await bell(page).click();
      await page.getByText('2 together').waitFor();
      const list = await faint(page);
      assert.deepEqual(list.found, [], `${colorScheme}, ${size}`);
      assert.ok(list.looked > 12);
      await page.getByRole('button', { name: /^Snooze: Six/ }).click();
      await page.screenshot({ path: `${PICTURES}${colorScheme}-${size}.png` });
      await press(page, 'Escape');
      await page.getByRole('button', { name: 'Preferences' }).click();
      await page.getByRole('group', { name: 'Invoices' }).waitFor();
      assert.deepEqual((await faint(page)).found, [], `preferences, ${colorScheme}, ${size}`);
      await page.screenshot({ path: `${PICTURES}${colorScheme}-${size}-preferences.png` });
    }
  }
});

test('a page can set every colour, and the theme itself', async (t) => {
  const { page } = await tabWith(t, ['a'], { context: { colorScheme: 'light' } });
  const colour = () => panel(page).evaluate((dialog) => getComputedStyle(dialog).backgroundColor);
  assert.equal(await colour(), 'rgb(255, 255, 255)');
  await page.locator('campanile-inbox').evaluate((element) => element.setAttribute('theme', 'dark'));
  assert.equal(await colour(), 'rgb(29, 31, 35)');
  await page.locator('campanile-inbox').evaluate((element) => element.style.setProperty('--campanile-inbox-background', '#123456'));
  assert.equal(await colour(), 'rgb(18, 52, 86)');
});

test('whatever a page calls its own colours, it can give them to the element', async (t) => {
  const { page } = await tabWith(t, ['a']);
  // A property of the page and one of the element of the same name would each wait for the other, and neither would be one.
  await page.evaluate(() => {
    const element = document.querySelector('campanile-inbox');
    for (const name of ['background', 'text', 'muted', 'line', 'hover', 'accent', 'danger', 'badge', 'badge-text']) {
      document.documentElement.style.setProperty(`--${name}`, 'rgb(18, 52, 86)');
      element.style.setProperty(`--campanile-inbox-${name}`, `var(--${name})`);
    }
  });
  await bell(page).click();
  const found = await page.locator('campanile-inbox').evaluate((element) => {
    const style = (part) => getComputedStyle(element.shadowRoot.querySelector(`[part~="${part}"]`));
    return [style('panel').borderTopColor, style('badge').backgroundColor, style('badge').color, style('panel').color];
  });
  assert.deepEqual(found, Array(4).fill('rgb(18, 52, 86)'));
});
}
