/**
 * The inbox without a user interface.
 *
 * Owns the list of what is public. The invariant: what is not here may change. Read on in `inbox.ts`.
 */

export { createInbox, Inbox, type InboxOptions, type Snapshot } from './inbox.js';
export { InboxError, type InboxErrorCode } from './failure.js';
export { safeUrl, type Action, type Notification, type Preference, type State, type View } from './notification.js';
export type { Proof } from './calls.js';
export type { EchoLike, PusherLike } from './connection.js';
