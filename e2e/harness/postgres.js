/**
 * A Postgres server for one test file: a cluster in a temporary directory, spoken to by its Unix socket alone.
 *
 * It never outlives this process, however that ends: a shell beside it waits for the end of a pipe.
 */

import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { chown, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

import { within } from './wait.js';

const START_MS = 30_000;
const LOOK_EVERY_MS = 50;
// Where Debian has the server's programs, one directory for each version.
const DEBIAN = '/usr/lib/postgresql';

const SERVE_UNTIL_THE_PIPE_ENDS = `
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off 2> "$2/log" &
server=$!
cat > /dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
`;

const run = promisify(execFile);

export class Postgres {
  #shell;
  #directory;

  static async start() {
    const postgres = new Postgres();
    const programs = directoryOfPrograms();
    postgres.#directory = await mkdtemp(join(tmpdir(), 'campanile-pg-'));
    const options = { cwd: postgres.#directory, ...unprivileged() };
    if (options.uid !== undefined) await chown(postgres.#directory, options.uid, options.gid);
    const data = join(postgres.#directory, 'data');
    const cluster = ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
    await run(join(programs, 'initdb'), cluster, options);
    const script = ['-c', SERVE_UNTIL_THE_PIPE_ENDS, 'sh', programs, postgres.#directory];
    // In a group of its own: Ctrl-C must not end the shell before it has cleaned up.
    postgres.#shell = spawn('/bin/sh', script, { ...options, stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    await within(postgres.#isReady(programs), () => `Postgres in ${postgres.#directory}`, START_MS);
    return postgres;
  }

  /** How sqlx is told of it. */
  get url() {
    return `postgres://postgres@${encodeURIComponent(this.#directory)}/postgres`;
  }

  async #isReady(programs) {
    while (this.#shell.exitCode === null) {
      const answer = run(join(programs, 'pg_isready'), ['-q', '-h', this.#directory]);
      if (await answer.then(() => true, () => false)) return;
      await pause(LOOK_EVERY_MS);
    }
    throw new Error('Postgres ended at once');
  }

  async close() {
    const exit = once(this.#shell, 'exit');
    this.#shell.stdin.end();
    await within(exit, () => 'Postgres to leave');
  }
}

function directoryOfPrograms() {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN) : [];
  const candidates = [
    ...(process.env.PATH ?? '').split(delimiter),
    ...versions.map((version) => join(DEBIAN, version, 'bin')),
  ];
  const initdb = candidates.map((directory) => join(directory, 'initdb')).find((file) => existsSync(file));
  if (!initdb) throw new Error('these tests need Postgres: apt-get install postgresql, or initdb on the PATH');
  // A link to it may stand alone.
  return dirname(realpathSync(initdb));
}

/** Whom the server runs as where we are root, as which it refuses to run. */
function unprivileged() {
  if (process.getuid() !== 0) return {};
  const id = (kind, name) => Number(execFileSync('id', [kind, name], { stdio: ['ignore', 'pipe', 'ignore'] }));
  try {
    return { uid: id('-u', 'postgres'), gid: id('-g', 'postgres') };
  } catch {
    return { uid: id('-u', 'nobody'), gid: id('-g', 'nobody') };
  }
}
