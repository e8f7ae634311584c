/**
 * Headless Chromium with the page of `pages/index.html`: laravel-echo on pusher-js, as a site loads them.
 */

import { chromium } from 'playwright-core';

import { APP } from './config.js';
import { PATIENCE_MS } from './wait.js';

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function openBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: FLAGS });
}

/** One tab on the application's page, its Echo connecting as `user`. */
export async function openTab(t, browser, stage, { user = null, key = APP.key, broadcaster = 'pusher', positions = null } = {}) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${stage.application.origin}/`);
  const { host, port } = stage.server;
  await page.evaluate((settings) => window.start(settings), { host, port, key, user, broadcaster, positions });
  return new Tab(page);
}

/** What a tab's scripts have noted, and how to wait for more. */
class Tab {
  constructor(page) {
    this.page = page;
  }

  /** Runs in the page, where `echo` and `note(kind, value)` are globals. */
  run(script, argument) {
    return this.page.evaluate(script, argument);
  }

  /** The value noted as `kind`: the first that has not been awaited yet. */
  async noted(kind, ms = PATIENCE_MS) {
    try {
      const found = await this.page.waitForFunction((wanted) => window.take(wanted), kind, { timeout: ms });
      return (await found.jsonValue()).value;
    } catch (error) {
      const notes = await this.page.evaluate(() => JSON.stringify(window.notes));
      throw new Error(`waited for ${kind}; the tab noted ${notes}`, { cause: error });
    }
  }

  /** Every value noted as `kind` so far. */
  all(kind) {
    return this.page.evaluate((wanted) => window.notes.filter((note) => note.kind === wanted).map((note) => note.value), kind);
  }
}
