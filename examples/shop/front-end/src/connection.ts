/**
 * Whether the page is live, in one word: connected, and every channel of the page has answered.
 */

import type { Live } from './echo';

/**
 * After a refused connection pusher-js waits for 15 s, then for longer. A restart is over sooner, so the page begins anew
 * after these, which double; a half of them up or down keeps a thousand pages from coming back at once.
 */
const RETRY_MIN_MS = 3_000;
const RETRY_MAX_MS = 30_000;

const WORDS: Record<string, string> = {
  live: 'Live',
  connected: 'Connecting',
  connecting: 'Connecting',
  disconnected: 'Paused',
  failed: 'Not live',
  unavailable: 'Reconnecting',
};

/** To be called when the page has subscribed to all its channels. */
export function followConnection(echo: Live): void {
  const element = document.getElementById('connection');
  const text = element?.querySelector('.text');
  if (!element || !text) return;
  const { pusher } = echo.connector;
  const refused = new Set<string>();
  const show = () => {
    const isAnswered = pusher.allChannels().every((channel) => channel.subscribed || refused.has(channel.name));
    const { state } = pusher.connection;
    const shown = state === 'connected' && isAnswered ? 'live' : state;
    element.dataset.state = shown;
    text.textContent = WORDS[shown] ?? shown;
  };
  for (const channel of pusher.allChannels()) {
    channel.bind('pusher:subscription_succeeded', show);
    channel.bind('pusher:subscription_error', () => {
      refused.add(channel.name);
      show();
    });
  }
  pusher.connection.bind('state_change', show);
  show();

  let timer: ReturnType<typeof setTimeout> | undefined;
  let pause = RETRY_MIN_MS;
  pusher.connection.bind('state_change', ({ current }: { current: string }) => {
    clearTimeout(timer);
    if (current === 'connected') pause = RETRY_MIN_MS;
    if (current !== 'connecting' && current !== 'unavailable') return;
    timer = setTimeout(() => {
      pause = Math.min(pause * 2, RETRY_MAX_MS);
      pusher.disconnect();
      pusher.connect();
    }, pause * (0.5 + Math.random()));
  });
}
