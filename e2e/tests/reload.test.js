// An operator replaces a key while clients are connected.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { client, connected, heard, reaches, settle, subscribed } from '../harness/client.js';
import { APP, NEWER_KEY, OLDER_KEY } from '../harness/config.js';
import { signedRequest } from '../harness/laravel.js';
import { Stage, unique } from '../harness/stage.js';
import { within } from '../harness/wait.js';

const POLL_MS = 25;

describe('reload', () => {
  let stage;
  before(async () => (stage = await Stage.open(() => ({ keys: [OLDER_KEY] }))));
  after(() => stage?.close());

  // Whatever the log says, what counts is that the answers change.
  const untilAnswered = (pair, wanted) => {
    const asking = async () => {
      for (;;) {
        const { status } = await signedRequest(stage, { id: APP.id, ...pair }, 'GET', '/channels');
        if (status === wanted) return;
        await pause(POLL_MS);
      }
    };
    return within(asking(), () => `${pair.key} to be answered ${wanted}`);
  };

  test('a key is replaced without losing a connection or an event', async (t) => {
    const name = unique('rotated');
    const subscription = await subscribed(await connected(t, stage, { key: OLDER_KEY.key }), name);
    await untilAnswered(NEWER_KEY, 401);

    await stage.server.reload({ keys: [OLDER_KEY, NEWER_KEY] });
    await untilAnswered(NEWER_KEY, 200);
    const second = await subscribed(await connected(t, stage, { key: NEWER_KEY.key }), name);
    await settle(stage, name, subscription, second);

    await stage.server.reload({ keys: [NEWER_KEY] });
    await untilAnswered(OLDER_KEY, 401);
    await reaches(client(t, stage, { key: OLDER_KEY.key }), 'disconnected');
    await stage.sdkFor({ id: APP.id, ...NEWER_KEY }).trigger(name, 'after', {});

    await heard(subscription, 'after');
    await heard(second, 'after');
    assert.deepEqual(subscription.channel.pusher.states.all, ['connected']);
  });
});
