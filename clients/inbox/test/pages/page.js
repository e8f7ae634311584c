/** A page of the application: `start` connects its inbox, as a site does when it knows who has signed in. */

import { createInbox } from '/index.js';
import '/element.js';

window.start = ({ host, port, key, user, transport = 'socket', texts }) => {
  const channel = `private-user.${user}`;
  const authorize = async (socketId) => {
    const form = new URLSearchParams({ socket_id: socketId, channel_name: channel });
    const answer = await fetch('/broadcasting/auth', { method: 'POST', body: form });
    return answer.json();
  };
  const element = document.querySelector('campanile-inbox');
  if (texts) element.texts = texts;
  window.inbox =
    transport === 'stream'
      ? createInbox({ url: `http://${host}:${port}`, key, channel, session: authorize })
      : createInbox({
          channel,
          pusher: (window.pusher = new Pusher(key, {
            cluster: '',
            wsHost: host,
            wsPort: port,
            forceTLS: false,
            enabledTransports: ['ws'],
            channelAuthorization: { endpoint: '/broadcasting/auth', transport: 'ajax' },
          })),
        });
  element.inbox = window.inbox;
};
