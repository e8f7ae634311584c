/**
 * The one connection of a page: laravel-echo on pusher-js, to the server that the page names.
 */

import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

import type { Events } from './events';

export type Live = Echo<'pusher'>;

/** What the application has written into the page's head. */
export function setting(name: string): string | undefined {
  return document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content;
}

/** Connects, if somebody is signed in. */
export function connect(): Live | undefined {
  const key = setting('live-key');
  const host = setting('live-host');
  if (!key || !host) return undefined;
  const port = Number(setting('live-port'));
  const secure = setting('live-tls') === 'true';
  return new Echo({
    broadcaster: 'pusher',
    key,
    cluster: '',
    wsHost: host,
    wsPort: port,
    wssPort: port,
    forceTLS: secure,
    enabledTransports: secure ? ['wss'] : ['ws'],
    enableStats: false,
    csrfToken: setting('csrf-token'),
    Pusher,
  });
}

/** What `listen` needs of a channel. */
interface Listening {
  listen(event: string, callback: (payload: never) => void): unknown;
}

/** Listens for an event of the application, whose payload has the type that it has in Rust. */
export function listen<Channel extends Listening, Name extends keyof Events>(
  channel: Channel,
  name: Name,
  callback: (payload: Events[Name]) => void,
): Channel {
  // With a dot before it Echo takes a name as it stands.
  channel.listen(`.${name}`, callback);
  return channel;
}

/** A subscription's error, as pusher-js hands it on. */
export interface Refusal {
  status?: number;
  error?: string;
}
