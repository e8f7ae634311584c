/**
 * Whether the page is live, in one word: connected, and every channel of the page has answered.
 */

import type { Live } from './echo';

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
}
