/** The README's snippets, taken out of it and run in Chromium; its types, as TypeScript sees them. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

import { openBrowser, openContext } from './stage/browser.js';
import { APP } from './stage/server.js';
import { openStage } from './stage/stage.js';

const HERE = fileURLToPath(new URL('..', import.meta.url));
const README = readFileSync(`${HERE}README.md`, 'utf8');
const snippets = new Map([...README.matchAll(/```\w+ file=(\S+)\n(.*?)```/gs)].map(([, name, code]) => [name, code]));

const stage = await openStage();
const { server, application } = stage;
const browser = await openBrowser();

/** A page of user 42 with what a snippet expects around it. */
async function open(t, name, code, html) {
  const { outputFiles } = await build({
    stdin: { contents: code, resolveDir: HERE, loader: 'jsx', sourcefile: name },
    bundle: true,
    write: false,
    format: 'iife',
    jsx: 'automatic',
    define: {
      KEY: JSON.stringify(APP.key), HOST: JSON.stringify(server.host), PORT: String(server.port),
      'process.env.NODE_ENV': '"production"', __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false',
    },
  });
  application.add(`/${name}`, outputFiles[0].text, 'text/javascript');
  application.add(`/${name}.html`, `<!doctype html><meta charset="utf-8"><body>${html}<script src="/${name}"></script>`, 'text/html');
  const context = await openContext(t, browser, stage, '42');
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.stack));
  t.after(() => assert.deepEqual(errors, []));
  await page.goto(`${application.origin}/${name}.html`);
  return page;
}

const connect = `
import Pusher from 'pusher-js';
import { createInbox } from 'campanile-inbox';
const pusher = new Pusher(KEY, { cluster: '', wsHost: HOST, wsPort: PORT, forceTLS: false, enabledTransports: ['ws'], channelAuthorization: { endpoint: '/broadcasting/auth', transport: 'ajax' } });
const inbox = createInbox({ pusher, channel: 'private-user.42' });
`;

test('every snippet is known here', () => {
  assert.deepEqual([...snippets.keys()].toSorted(), ['echo.js', 'pusher.js', 'react.jsx', 'vue.js']);
});

test('the snippet for Echo shows the bell', async (t) => {
  await server.notify({ to: { user: '42' }, kind: 'k', title: 'From before' });
  const page = await open(t, 'echo.js', snippets.get('echo.js'), '<campanile-inbox></campanile-inbox>');
  await page.getByRole('button', { name: 'Notifications, 1 unread' }).click();
  await page.getByText('From before').waitFor();
});

test('the snippet for pusher-js lists, tells and reads', async (t) => {
  const page = await open(t, 'pusher.js', snippets.get('pusher.js'), '<div id="list"></div><button id="more">more</button><button id="all">all</button>');
  await page.getByText('From before').waitFor();
  const told = page.waitForEvent('console', (message) => message.text() === 'new: Now');
  await server.notify({ to: { user: '42' }, kind: 'k', title: 'Now', action_url: 'javascript:alert(1)' });
  await told;
  await page.getByText('Now').waitFor();
  assert.equal(await page.getByText('Now').getAttribute('href'), null);
  await page.getByText('Now').click();
  await page.waitForFunction(() => document.title === '(1) Documents');
  await page.locator('#all').click();
  await page.waitForFunction(() => document.title === 'Documents');
});

test('the snippet for React renders the store', async (t) => {
  const code = `${snippets.get('react.jsx')}${connect}
import { createRoot } from 'react-dom/client';
createRoot(document.querySelector('#root')).render(<><Bell inbox={inbox} /><campanile-inbox inbox={inbox} /></>);
import 'campanile-inbox/element';`;
  await server.notify({ to: { user: '42' }, kind: 'k', title: 'For React' });
  const page = await open(t, 'react.jsx', code, '<div id="root"></div>');
  await page.getByRole('region', { name: 'Notifications, 1 unread' }).getByRole('button', { name: 'For React' }).click();
  await page.getByRole('region', { name: 'Notifications, 0 unread' }).waitFor();
  await page.getByRole('button', { name: 'Notifications, none unread' }).waitFor();
});

test('the snippet for Vue renders the store', async (t) => {
  const code = `${snippets.get('vue.js')}${connect}
import { createApp, h } from 'vue';
import 'campanile-inbox/element';
createApp({
  setup() {
    const snapshot = useInbox(inbox);
    return () => [h('p', snapshot.value.unread + ' unread'), h('campanile-inbox', { inbox })];
  },
}).mount('#root');`;
  const page = await open(t, 'vue.js', code, '<div id="root"></div>');
  await page.getByText('0 unread').waitFor();
  await server.notify({ to: { user: '42' }, kind: 'k', title: 'For Vue' });
  await page.getByText('1 unread').waitFor();
  await page.getByRole('button', { name: 'Notifications, 1 unread' }).waitFor();
});

const TYPED = `
import { useSyncExternalStore } from 'react';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';
import { createInbox, InboxError, type Snapshot } from 'campanile-inbox';
import { ENGLISH } from 'campanile-inbox/element';

declare const pusher: Pusher;
declare const echo: Echo<'reverb'>;
const inbox = createInbox({ pusher, channel: 'private-user.42' });
createInbox({ echo, channel: 'private-user.42', session: async () => 'token' });
createInbox({ url: 'https://x.example', key: 'k', channel: 'c', session: async (socketId) => ({ auth: socketId ?? '' }) });
const snapshot: Snapshot = useSyncExternalStore(inbox.subscribe, inbox.getSnapshot);
const first: string | undefined = snapshot.notifications[0]?.title;
const element = document.querySelector('campanile-inbox')!;
element.inbox = inbox;
element.texts = { close: 'Zu', bell: (unread) => String(unread) };
element.show();
inbox.read('id').catch((error: unknown) => error instanceof InboxError && error.code === 'network');
console.log(first, ENGLISH.title);
// @ts-expect-error -- a snapshot is not changed in place
snapshot.unread = 0;
// @ts-expect-error -- a channel is needed
createInbox({ pusher });
// @ts-expect-error -- no such view
inbox.load({ status: 'deleted' });
`;

test('the types take the real Pusher, Echo and React', (t) => {
  const folder = mkdtempSync(`${HERE}test/.types-`);
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(`${folder}/use.ts`, TYPED);
  const options = { target: 'es2022', module: 'esnext', moduleResolution: 'bundler', strict: true, noEmit: true, skipLibCheck: true, types: [] };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions: options, files: ['use.ts'] }));
  const run = () => execFileSync(fileURLToPath(new URL('../../../node_modules/.bin/tsc', import.meta.url)), ['-p', folder], { encoding: 'utf8' });
  assert.doesNotThrow(run, (error) => assert.fail(error.stdout));
});
