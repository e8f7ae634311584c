/**
 * The server binary as a black box: started with a configuration file, spoken to over the network,
 * stopped by a signal. Each server has its own port and its own temporary directory.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { within } from './wait.js';
import { configuration } from './config.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const BINARY = resolve(HERE, process.env.CAMPANILE_BIN ?? '../target/debug/campanile');
const START_MS = 15_000;
const STOP_MS = 20_000;
const POLL_MS = 25;

export class Server {
  #child;
  #directory;
  #settings;
  #log = '';

  constructor(directory, port) {
    this.#directory = directory;
    this.host = '127.0.0.1';
    this.port = port;
  }

  /** Writes the configuration and starts the binary; resolves when it is ready for clients. */
  static async start(settings) {
    const directory = await mkdtemp(join(tmpdir(), 'campanile-e2e-'));
    const server = new Server(directory, await freePort());
    server.#settings = settings;
    await server.#configure();
    await server.startAgain();
    return server;
  }

  /** What stands in front of `/app` and `/apps`. */
  get pathPrefix() {
    return this.#settings.pathPrefix ?? '';
  }

  /** Whether it speaks TLS. */
  get secure() {
    return this.#settings.certificate !== undefined;
  }

  get origin() {
    return `${this.secure ? 'https' : 'http'}://${this.host}:${this.port}`;
  }

  /** Everything that the process has printed, over all its starts. */
  get log() {
    return this.#log;
  }

  async #configure() {
    const stateDir = join(this.#directory, 'state');
    await writeFile(this.#configFile, configuration({ stateDir, port: this.port, ...this.#settings }));
  }

  get #configFile() {
    return join(this.#directory, 'campanile.toml');
  }

  /** Changes the apps in the file and asks the running server to read it again. */
  async reload(changes) {
    this.#settings = { ...this.#settings, ...changes };
    await this.#configure();
    this.#child.kill('SIGHUP');
  }

  /** Starts the binary with the same file, on the same port. */
  async startAgain() {
    const child = spawn(BINARY, ['serve', '--config', this.#configFile], {
      cwd: this.#directory,
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const record = (chunk) => (this.#log += chunk);
    child.stdout.setEncoding('utf8').on('data', record);
    child.stderr.setEncoding('utf8').on('data', record);
    const failed = once(child, 'error').then(([error]) => {
      throw new Error(`${BINARY} did not start: ${error.message}`);
    });
    const ended = once(child, 'exit').then(([code, signal]) => {
      throw new Error(`the server ended at once (${code ?? signal}):\n${this.#log}`);
    });
    for (const outcome of [failed, ended]) outcome.catch(() => {}); // late ends are judged in `stop`
    this.#child = child;
    const waiting = new AbortController();
    try {
      const outcome = Promise.race([this.#answers(200, waiting.signal), failed, ended]);
      await within(outcome, () => `GET /ready:\n${this.#log}`, START_MS);
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      waiting.abort();
    }
  }

  /** Stops the binary as an operator would; it must drain and report success. */
  async stop() {
    const child = this.#child;
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await within(exit, () => `the server to leave after SIGTERM:\n${this.#log}`, STOP_MS).catch((error) => {
        child.kill('SIGKILL');
        throw error;
      });
    }
    assert.equal(child.signalCode ?? child.exitCode, 0, `exit code after SIGTERM:\n${this.#log}`);
  }

  /** Ends the binary as a lost machine does: nothing is finished, nothing is said. */
  async kill() {
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }

  /** Stops for good, and checks what no run may leave in its log. */
  async close() {
    try {
      await this.stop();
      assert.doesNotMatch(this.#log, /panicked at/, 'the server panicked');
      assert.doesNotMatch(this.#log, /\b(e2e|closed|small|fenced|brief)-secret/, 'the log holds a secret');
    } finally {
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  /** Waits until the running server says that it takes no more clients. */
  async becomesUnready() {
    const waiting = new AbortController();
    await within(this.#answers(503, waiting.signal), () => '503 from /ready').finally(() => waiting.abort());
  }

  async #answers(wanted, signal) {
    while (!signal.aborted) {
      const status = await fetch(`${this.origin}/ready`).then(
        (response) => response.status,
        () => undefined, // refused: not listening
      );
      if (status === wanted) return;
      await pause(POLL_MS);
    }
  }
}

/** A port that was free a moment ago. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

// The file alone configures the server: names that `serve` would read are left out.
function environment() {
  const foreign = /^(CAMPANILE|PUSHER|REVERB)_/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}
