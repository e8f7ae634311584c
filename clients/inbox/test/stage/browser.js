/**
 * Chromium with a page of the application.
 *
 * Owns the browser and its tabs: tabs of one user share a context, as they do in life. The invariant: no tab may have said an
 * error by the end of its test. Read on in `../pages/page.js`.
 */

import assert from 'node:assert/strict';
import { after } from 'node:test';

import { chromium } from 'playwright-core';

import { APP } from './server.js';
import { until } from './wait.js';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export async function openBrowser() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
  after(() => browser.close());
  return browser;
}

/** A user's browser. `options` are Playwright's: colour scheme, viewport. */
export async function openContext(t, browser, stage, user, options = {}) {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  t.after(() => context.close());
  await context.addCookies([{ name: 'user', value: user, url: stage.application.origin }]);
  return context;
}

/** One tab with its inbox, once pushes come. */
export async function openTab(t, context, stage, user, settings = {}) {
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.stack));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  t.after(() => settings.errs || assert.deepEqual(errors, []));
  await page.goto(`${stage.application.origin}/`);
  const { host, port } = stage.server;
  await page.waitForFunction(() => window.start);
  await page.evaluate((all) => window.start(all), { host, port, key: APP.key, user, ...settings });
  await page.waitForFunction(() => window.inbox.getSnapshot().live, undefined, { timeout: 20_000 });
  return page;
}

/** What has focus: its role, name and text, through shadow roots. */
export const focused = (page) =>
  page.evaluate(() => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    return element?.ariaLabel || element?.textContent.trim();
  });

export const press = async (page, ...keys) => {
  for (const key of keys) await page.keyboard.press(key);
};

/** Until the page's snapshot is as wanted. */
export const shows = (page, what, look) =>
  until(what, async () => look(await page.evaluate(() => window.inbox.getSnapshot())));

/** What the tests of a file do with its stage. */
export function tabs(stage, browser) {
  const notify = (user, title, more = {}) => stage.server.notify({ to: { user }, kind: 'comment.added', title, ...more });
  /** A tab whose user has these, the last the newest. */
  const tabWith = async (t, titles, { context: options, ...settings } = {}) => {
    const user = stage.newUser();
    for (const title of titles) await notify(user, ...[title].flat());
    const context = await openContext(t, browser, stage, user, options);
    const page = await openTab(t, context, stage, user, settings);
    return { user, context, page };
  };
  return { notify, tabWith };
}

export const bell = (page) => page.locator('campanile-inbox [part=bell]');
export const panel = (page) => page.locator('campanile-inbox dialog');
export const names = (page) => page.locator('campanile-inbox .name').allTextContents();
export const said = (page) => page.locator('campanile-inbox [role=status]').textContent();
