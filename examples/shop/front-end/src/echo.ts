/**
 * The one connection of a page: laravel-echo on pusher-js, to the server that the page names.
 */

import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

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

/** A subscription's error, as pusher-js hands it on. */
export interface Refusal {
  status?: number;
  error?: string;
}
