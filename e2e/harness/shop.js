/**
 * The example shop as a process beside the server: its own database, a file or a Postgres server of its own.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { openBrowser } from './browser.js';
import { APP } from './config.js';
import { Postgres } from './postgres.js';
import { Server, freePort } from './server.js';
import { within } from './wait.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const BINARY = resolve(HERE, process.env.SHOP_BIN ?? '../target/debug/shop');
const PASSWORD = 'campanile';
// A first start hashes five passwords, slowly on purpose and more slowly without optimisation.
const START_MS = 30_000;
// A page, its scripts, its authorizations and the outbox, on a machine that has more to do.
const PAGE_MS = 15_000;

// As the shop's own server has it.
const INBOX_CHANNEL = 'private-user.{user}';

/** The databases that the shop runs on. */
export const DATABASES = ['SQLite', 'Postgres'];

export class Shop {
  #child;
  #server;
  #data;
  #port;
  #databaseUrl;

  /** `databaseUrl` is of a database other than the shop's own file. */
  static async start(server, databaseUrl) {
    const shop = new Shop();
    shop.#server = server;
    shop.#databaseUrl = databaseUrl;
    shop.#data = await mkdtemp(join(tmpdir(), 'campanile-shop-'));
    shop.#port = await freePort();
    await shop.startAgain();
    return shop;
  }

  get origin() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Starts the binary on the same database and port. */
  async startAgain(options = []) {
    const { host, port } = this.#server;
    this.#child = spawn(BINARY, ['--port', String(this.#port), '--data', this.#data, '--inbox', ...options], {
      env: {
        PATH: process.env.PATH,
        PUSHER_APP_ID: APP.id,
        PUSHER_APP_KEY: APP.key,
        PUSHER_APP_SECRET: APP.secret,
        PUSHER_HOST: host,
        PUSHER_PORT: String(port),
        PUSHER_SCHEME: 'http',
        ...(this.#databaseUrl && { DATABASE_URL: this.#databaseUrl }),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(this.#child, 'exit').then(([code, signal]) => {
      throw new Error(`${BINARY} ended at once (${code ?? signal})`);
    });
    ended.catch(() => {}); // a late end is `kill` or `close`
    const opened = once(createInterface(this.#child.stdout), 'line');
    await within(Promise.race([opened, ended]), () => `${BINARY} to open`, START_MS);
  }

  /** As the kernel would, with no chance to finish anything. */
  async kill() {
    await this.#leave('SIGKILL');
  }

  async #leave(signal) {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill(signal);
    await within(exit, () => 'the shop to leave');
  }

  async close() {
    await this.#leave('SIGTERM');
    await rm(this.#data, { recursive: true, force: true });
  }

  /** A browser of its own, signed in as one of the demo users; it leads to the orders page. */
  async visit(t, browser, name) {
    const context = await browser.newContext({ baseURL: this.origin });
    t.after(() => context.close());
    context.setDefaultTimeout(PAGE_MS);
    const page = await context.newPage();
    await page.goto('/sign-in');
    await page.getByLabel('E-mail').fill(`${name}@shop.test`);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.waitForURL('**/orders');
    await isLive(page);
    return page;
  }
}

/** The server, the shop beside it and a browser: what every test file of the shop plays on. */
export class ShopStage {
  static async open(database = 'SQLite') {
    const stage = new ShopStage();
    try {
      const inbox = { channels: [INBOX_CHANNEL], identity: [INBOX_CHANNEL] };
      stage.server = await Server.start({ webhookUrl: 'http://127.0.0.1:9/', inbox });
      if (database === 'Postgres') stage.postgres = await Postgres.start();
      stage.shop = await Shop.start(stage.server, stage.postgres?.url);
      stage.browser = await openBrowser();
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  /** As `Shop.visit`. */
  visit(t, name) {
    return this.shop.visit(t, this.browser, name);
  }

  async close() {
    await this.browser?.close();
    await this.shop?.close();
    await this.postgres?.close();
    await this.server?.close();
  }
}

/** Waits until a page is connected and all its channels have answered. */
export async function isLive(page) {
  await page.locator('#connection[data-state="live"]').waitFor();
}

/** Leads a page elsewhere. */
export async function open(page, path) {
  await page.goto(path);
  await isLive(page);
}

/** Orders something; the number of the order. */
export async function placeOrder(page) {
  const before = await page.locator('#orders .order').count();
  await page.getByRole('button', { name: 'Place order' }).click();
  await page.waitForFunction((count) => document.querySelectorAll('#orders .order').length > count, before);
  await isLive(page);
  return page.locator('#orders .order').first().getAttribute('data-order');
}

/** Ships an order as whoever runs the shop. */
export async function shipAs(operator, order) {
  await operator.goto('/operations');
  await operator.getByRole('button', { name: `Ship order ${order}`, exact: true }).click();
  await operator.locator(`[data-parcel="${order}"]`).waitFor({ state: 'detached' });
}
