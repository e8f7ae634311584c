/**
 * Builds `dist`: each entry as one minified module, its types, and the size that it may have.
 *
 * Owns what is shipped. Never bundles a dependency: there is none. The invariant: a module that is over its size is not
 * built. Read on in `src/index.ts`.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

import { build } from 'esbuild';

/** Bytes, gzipped, of what a page loads. */
const BYTES_MAX = { index: 6 * 1024, element: 8 * 1024 };

process.chdir(fileURLToPath(new URL('.', import.meta.url)));
rmSync('dist', { recursive: true, force: true });
execFileSync(fileURLToPath(new URL('../../node_modules/.bin/tsc', import.meta.url)), { stdio: 'inherit' });
await build({
  entryPoints: Object.keys(BYTES_MAX).map((entry) => `src/${entry}.ts`),
  outdir: 'dist',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  logLevel: 'warning',
});
for (const [entry, most] of Object.entries(BYTES_MAX)) {
  const { length } = gzipSync(readFileSync(`dist/${entry}.js`), { level: 9 });
  console.log(`dist/${entry}.js: ${length} of ${most} bytes gzipped`);
  if (length > most) throw new Error(`dist/${entry}.js has ${length} bytes gzipped, and may have ${most}`);
}
