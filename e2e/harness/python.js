/**
 * The PyPI server SDK in a Python process of its own, called from a test.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { MASTER_KEY } from './application.js';
import { APP } from './config.js';
import { Recorder } from './wait.js';

const PYTHON = fileURLToPath(new URL('../.venv/bin/python', import.meta.url));
const SCRIPT = fileURLToPath(new URL('../python/sdk.py', import.meta.url));

export class PythonSdk {
  #child;
  #exit;
  #answers = new Recorder('the Python SDK');

  constructor(stage) {
    const { host, port } = stage.server;
    const options = {
      app_id: APP.id,
      key: APP.key,
      secret: APP.secret,
      host,
      port,
      encryption_master_key_base64: MASTER_KEY,
    };
    this.#child = spawn(PYTHON, [SCRIPT, JSON.stringify(options)], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#exit = once(this.#child, 'exit');
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answers.add(JSON.parse(line)));
  }

  /** One call at a time; throws what the SDK raised, as `name` and `message`. */
  async call(method, ...args) {
    return this.#request({ call: method, args });
  }

  async callNamed(method, kwargs) {
    return this.#request({ call: method, kwargs });
  }

  async close() {
    this.#child.stdin.end();
    await this.#exit;
  }

  async #request(request) {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    const answer = await this.#answers.next(() => true, `an answer to ${request.call}`);
    if ('error' in answer) throw Object.assign(new Error(answer.message), { name: answer.error });
    return answer.ok;
  }
}
