/**
 * The real server, with what the tests ask of any server.
 *
 * Owns its process, in a temporary directory on a free port. Never plants a fault. The invariant: it is spoken to over the
 * network only, as an application speaks to it. Read on in `stage.js`.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { APP } from './server.js';
import { until } from './wait.js';

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

const configuration = (port, folder) => `
state_dir = ${JSON.stringify(join(folder, 'state'))}
[listen]
host = "127.0.0.1"
port = ${port}
[inbox]
[drain]
ready_delay_secs = 0
wave_secs = 0
[[apps]]
id = "${APP.id}"
name = "Tests of the client"
keys = [{ key = "${APP.key}", secret = "${APP.secret}" }]
server_tokens = [{ token = "${APP.token}" }]
[apps.inbox]
channels = ["private-user.{user}"]
identity = ["private-user.{user}"]
`;

export class RealServer {
  host = '127.0.0.1';
  #folder = mkdtempSync(join(tmpdir(), 'campanile-inbox-'));
  #process;
  #log = '';

  static async start(binary) {
    const server = new RealServer();
    server.port = await freePort();
    writeFileSync(join(server.#folder, 'campanile.toml'), configuration(server.port, server.#folder));
    server.#process = spawn(binary, ['serve', '--config', join(server.#folder, 'campanile.toml')]);
    for (const output of [server.#process.stdout, server.#process.stderr]) output.on('data', (text) => (server.#log += text));
    await until('the server', () => fetch(`${server.origin}/ready`).then(({ ok }) => ok, () => false)).catch(() => {
      throw new Error(`the server did not start: ${server.#log}`);
    });
    return server;
  }

  get origin() {
    return `http://${this.host}:${this.port}`;
  }

  async close() {
    this.#process.kill('SIGTERM');
    if (this.#process.exitCode === null) await once(this.#process, 'exit');
    rmSync(this.#folder, { recursive: true });
  }

  async #ask(method, path, body) {
    const answer = await fetch(`${this.origin}/apps/${APP.id}${path}`, {
      method,
      headers: { authorization: `Bearer ${APP.token}` },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  /** Resolves when it is in the inbox, which is a little after it was accepted. */
  async notify(notification) {
    const { user } = notification.to;
    const before = user === undefined ? undefined : await this.state(user);
    const { id } = await this.#ask('POST', '/notifications', notification);
    if (before) await until('the row', async () => (await this.state(user)).rev > before.rev);
    return id;
  }

  putCategory(name, terms) {
    return this.#ask('PUT', `/categories/${name}`, terms);
  }

  async state(user) {
    const { unread, unseen, seq, rev, announced } = await this.#ask('GET', `/users/${user}/inbox?limit=1`);
    return { unread, unseen, seq, rev, announced };
  }
}
