/** `<campanile-inbox>` in Chromium on the test server: the suite, and what needs planted faults or a look at the requests. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { bell, names, openBrowser, openTab, shows, tabs } from './stage/browser.js';
import { openStage } from './stage/stage.js';
import { elementSuite } from './suites/element.js';

const stage = await openStage();
const { server } = stage;
const browser = await openBrowser();
const { notify, tabWith } = tabs(stage, browser);

elementSuite(stage, browser);

test('nothing that comes from the server runs', async (t) => {
  const { page } = await tabWith(t, [
    ['<img src=x onerror="window.hit=1"><b>bold</b>', {
      body: '<script>window.hit=2</script>',
      action_url: 'javascript:window.hit=3',
      actions: [{ label: '<i>Go</i>', url: 'https://ok.example/' }, { label: 'no', url: ' jAvascript:window.hit=4' }],
    }],
  ]);
  await bell(page).click();
  await page.getByText('bold').waitFor();
  assert.deepEqual(await names(page), ['<img src=x onerror="window.hit=1"><b>bold</b>']);
  const list = page.locator('campanile-inbox ul');
  assert.equal(await list.locator('img, b, script, i').count(), 0);
  assert.deepEqual(await list.locator('a').evaluateAll((links) => links.map(({ href }) => href)), ['https://ok.example/']);
  await page.locator('campanile-inbox .name').click();
  assert.equal(await page.evaluate(() => window.hit), undefined);
});

test('what fails is undone, and said', async (t) => {
  const { page } = await tabWith(t, ['a'], { errs: true });
  await bell(page).click();
  await page.getByText('Unread:').waitFor({ state: 'attached' });
  server.fail(/\/read$/, { status: 500 });
  await page.getByRole('button', { name: 'Mark as read: a' }).click();
  await page.getByRole('alert').getByText('That did not work. What you did was undone.').waitFor();
  assert.equal(await bell(page).getAttribute('aria-label'), 'Notifications, 1 unread');
  await page.getByRole('button', { name: 'Mark as read: a' }).click();
  await shows(page, 'it read', ({ unread }) => unread === 0);
  await page.getByRole('alert').waitFor({ state: 'hidden' });
});

test('a list that could not be loaded can be asked for again', async (t) => {
  const { page } = await tabWith(t, ['a'], { errs: true });
  server.fail(/notifications$/, { status: 503, headers: { 'retry-after': '60' } });
  await bell(page).click();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('Unread:').waitFor({ state: 'attached' });
  assert.deepEqual(await names(page), ['a']);
});

test('two tabs agree, with one session between them', async (t) => {
  const { page, user, context } = await tabWith(t, ['a', 'b']);
  await page.evaluate(() => window.inbox.load());
  const other = await openTab(t, context, stage, user);
  await other.evaluate(() => window.inbox.load());
  assert.equal(server.requests.filter(({ path, body }) => path === '/inbox/session' && body.channel_name === `private-user.${user}`).length, 1);
  server.requests.length = 0;
  await page.bringToFront();
  await bell(page).click();
  await page.getByRole('button', { name: 'Mark as read: a' }).click();
  await shows(other, 'it read', ({ unread, unseen, notifications }) => unread === 1 && unseen === 0 && notifications[1].read_at !== null);
  await other.bringToFront();
  await bell(other).click();
  await other.getByRole('button', { name: 'Archive: b' }).click();
  await shows(page, 'it gone', ({ unread, notifications }) => unread === 0 && notifications.length === 1);
  assert.deepEqual(server.requests.map(({ path }) => path.split('/').at(-1)).toSorted(), ['archive', 'read', 'seen'], 'nobody had to ask what the other did');
  // A gap is filled by one of the two, for both.
  server.inboxes.notify({ to: { user }, kind: 'k', title: 'lost' }, { quiet: true });
  await notify(user, 'next');
  for (const tab of [page, other]) await tab.bringToFront().then(() => shows(tab, 'both', ({ notifications }) => notifications.length === 3));
});

test('tabs without WebSockets share one event stream, and the next one takes it over', async (t) => {
  const { page, user, context } = await tabWith(t, ['a'], { transport: 'stream' });
  const other = await openTab(t, context, stage, user, { transport: 'stream' });
  assert.equal(server.sockets, 1);
  await notify(user, 'b');
  for (const tab of [page, other]) await shows(tab, 'both', ({ unread }) => unread === 2);
  await page.close();
  await stage.until('the other stream', () => server.sockets === 1 && server.asked('GET', '/inbox/stream') === 2);
  await shows(other, 'pushes', ({ live }) => live);
  await notify(user, 'c');
  await shows(other, 'all', ({ unread }) => unread === 3);
  await other.evaluate(() => window.inbox.load());
  assert.equal((await other.evaluate(() => window.inbox.getSnapshot().notifications)).length, 3);
});

test('a preference that the server does not take is put back', async (t) => {
  await server.putCategory('comments', { label: 'Comments' });
  const { page } = await tabWith(t, [], { errs: true });
  await bell(page).click();
  await page.getByRole('button', { name: 'Preferences' }).click();
  const mail = page.getByRole('group', { name: 'Comments' }).getByLabel('Mail');
  await mail.waitFor();
  server.fail(/preferences$/, { status: 503 });
  await mail.click();
  await page.getByRole('alert').getByText('That did not work').waitFor();
  assert.equal(await mail.isChecked(), true);
});
