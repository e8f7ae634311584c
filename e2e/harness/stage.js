/**
 * One server and the application around it, for one test file.
 */

import { randomBytes } from 'node:crypto';

import Pusher from 'pusher';

import { Application, MASTER_KEY } from './application.js';
import { APP } from './config.js';
import { Server } from './server.js';

export class Stage {
  constructor(server, application) {
    this.server = server;
    this.application = application;
    this.sdk = this.sdkFor(APP);
  }

  /** `settings` are those of `configuration`; a function of the application's origin may make them. */
  static async open(settings = () => ({})) {
    const application = await Application.listen();
    try {
      const webhookUrl = `${application.origin}/webhooks`;
      return new Stage(await Server.start({ webhookUrl, ...settings(application.origin) }), application);
    } catch (error) {
      await application.close();
      throw error;
    }
  }

  /** The npm server SDK, as the application would hold it. */
  sdkFor({ id, key, secret }) {
    const { host, port, secure: useTLS } = this.server;
    return new Pusher({ appId: id, key, secret, host, port, useTLS, encryptionMasterKeyBase64: MASTER_KEY });
  }

  async close() {
    try {
      await this.server.close();
    } finally {
      await this.application.close();
    }
  }
}

/** A channel, user or event name that no other test uses. */
export function unique(prefix) {
  return `${prefix}-${randomBytes(4).toString('hex')}`;
}
