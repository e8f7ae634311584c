/**
 * An application in Rust: the example of `campanile-broadcast`, as a process beside the server.
 *
 * It takes the place of `Application` where a client asks for authorization.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { MASTER_KEY, signedHeaders } from './application.js';
import { APP } from './config.js';
import { within } from './wait.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const BINARY = resolve(HERE, process.env.APPLICATION_BIN ?? '../target/debug/examples/application');

export class RustApplication {
  #child;

  /** Starts it for the app of this stage. */
  static async start({ server }) {
    const application = new RustApplication();
    application.#child = spawn(BINARY, [], {
      env: {
        PUSHER_APP_ID: APP.id,
        PUSHER_APP_KEY: APP.key,
        PUSHER_APP_SECRET: APP.secret,
        PUSHER_HOST: server.host,
        PUSHER_PORT: String(server.port),
        PUSHER_SCHEME: 'http',
        ENCRYPTION_MASTER_KEY: MASTER_KEY,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const line = once(createInterface(application.#child.stdout), 'line');
    const ended = once(application.#child, 'exit').then(([code, signal]) => {
      throw new Error(`${BINARY} ended at once (${code ?? signal})`);
    });
    ended.catch(() => {}); // a late end is `close`
    [application.origin] = await within(Promise.race([line, ended]), () => `the address of ${BINARY}`);
    return application;
  }

  /** A request of this user's browser; `socketId` is what Echo sends along. */
  async post(path, { user, socketId, body }) {
    const response = await fetch(`${this.origin}${path}`, {
      method: 'POST',
      body: body && JSON.stringify(body),
      headers: {
        ...signedHeaders(user),
        ...(body && { 'Content-Type': 'application/json' }),
        ...(socketId && { 'X-Socket-ID': socketId }),
      },
    });
    if (response.status !== 204) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  }

  async close() {
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await within(exit, () => 'the application to leave');
  }
}
