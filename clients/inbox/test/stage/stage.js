/**
 * What a test file needs around the inbox: a server, an application, and clients of them.
 *
 * Owns what is opened, and closes it. The invariant: `openStage` alone knows which server it is. Read on in `server.js`,
 * `application.js`.
 */

import { after } from 'node:test';

import Pusher from 'pusher-js';

import { createInbox } from '../../dist/index.js';
import { Application } from './application.js';
import { RealServer } from './real_server.js';
import { APP, TestServer } from './server.js';
import { until } from './wait.js';

/** With the server of this binary, or with the test server, which can fail on demand. */
export async function openStage(binary) {
  const server = binary ? await RealServer.start(binary) : await TestServer.listen();
  const application = await Application.listen();
  after(() => Promise.all([server.close(), application.close()]));
  return new Stage(server, application);
}

let lastUser = 0;

class Stage {
  constructor(server, application) {
    this.server = server;
    this.application = application;
  }

  /** A user whom no other test knows. */
  newUser() {
    return `${++lastUser}`;
  }

  pusher(t, user) {
    const pusher = new Pusher(APP.key, {
      cluster: '',
      wsHost: this.server.host,
      wsPort: this.server.port,
      forceTLS: false,
      enabledTransports: ['ws'],
      channelAuthorization: { endpoint: `${this.application.origin}/broadcasting/auth`, transport: 'ajax', headers: { 'X-User': user } },
    });
    t.after(() => pusher.disconnect());
    return pusher;
  }

  /** An inbox with all that it has told, once its first counts are there. */
  async inbox(t, user, options = {}) {
    const isGiven = options.session || options.pusher || options.echo;
    const inbox = createInbox({ ...(!isGiven && { pusher: this.pusher(t, user) }), channel: `private-user.${user}`, ...options });
    t.after(inbox.close);
    const arrivals = [];
    if (options.hears !== false) inbox.onArrival((notification) => arrivals.push(notification.title));
    await until('pushes', () => inbox.getSnapshot().live);
    return Object.assign(inbox, { arrivals });
  }

  until = until;

  /** Until the snapshot is as wanted. */
  shows(inbox, what, look) {
    return until(what, () => look(inbox.getSnapshot())).catch(() => {
      throw new Error(`waited for ${what}; it shows ${JSON.stringify(inbox.getSnapshot(), null, 1)}`);
    });
  }
}

export const titles = (inbox) => inbox.getSnapshot().notifications.map(({ title }) => title);
export const counts = (inbox) => [inbox.getSnapshot().unread, inbox.getSnapshot().unseen];
