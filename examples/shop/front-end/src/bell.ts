/**
 * The bell: what has come while nobody looked, on every page whose server keeps it.
 *
 * It listens on the channel on which the orders page hears of parcels, and the same signature opens the inbox.
 */

import { createInbox } from 'campanile-inbox';
import 'campanile-inbox/element';

import { type Live, setting } from './echo';

export function showBell(echo: Live): void {
  const bell = document.querySelector('campanile-inbox');
  if (bell) bell.inbox = createInbox({ echo, channel: `private-user.${setting('user-id')}` });
}
