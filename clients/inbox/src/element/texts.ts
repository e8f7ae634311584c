/**
 * Every text that the element says, in English.
 *
 * Owns the words. Never a notification's own, which come from the server. The invariant: nothing is said that is not here, so
 * a page can replace all of it. Read on in `../element.ts`.
 */

import type { InboxError } from '../failure.js';

export interface Texts {
  /** The panel's title, and how the bell is called. */
  title: string;
  /** The bell's label with so many unread. */
  bell(unread: number): string;
  /** What is on the badge. */
  badge(unread: number): string;
  /** Said when so many have come, the newest with this title. */
  arrived(count: number, title: string): string;
  close: string;
  filters: string;
  inbox: string;
  unread: string;
  archived: string;
  readAll: string;
  archiveRead: string;
  more: string;
  loading: string;
  nothing: string;
  nothingUnread: string;
  nothingArchived: string;
  /** Before the title of one that is not read, for those who do not see its dot. */
  isUnread: string;
  /** A digest's number. */
  gathered(count: number): string;
  markRead: string;
  markUnread: string;
  archive: string;
  unarchive: string;
  snooze: string;
  snoozeHour: string;
  snoozeTomorrow: string;
  snoozeWeek: string;
  /** The label of a button of one notification. */
  of(action: string, title: string): string;
  preferences: string;
  back: string;
  noPreferences: string;
  /** What the ways are called; one that is not here is called by its name. */
  ways: Record<string, string>;
  required: string;
  retry: string;
  failed(error: InboxError): string;
}

export const ENGLISH: Texts = {
  title: 'Notifications',
  bell: (unread) => (unread ? `Notifications, ${unread} unread` : 'Notifications, none unread'),
  badge: (unread) => (unread > 99 ? '99+' : `${unread}`),
  arrived: (count, title) => (count > 1 ? `${count} new notifications` : `New notification: ${title}`),
  close: 'Close',
  filters: 'Show',
  inbox: 'All',
  unread: 'Unread',
  archived: 'Archived',
  readAll: 'Mark all as read',
  archiveRead: 'Archive read',
  more: 'Show older',
  loading: 'Loading…',
  nothing: 'Nothing here yet.',
  nothingUnread: 'You have read everything.',
  nothingArchived: 'Nothing is archived.',
  isUnread: 'Unread:',
  gathered: (count) => `${count} together`,
  markRead: 'Mark as read',
  markUnread: 'Mark as unread',
  archive: 'Archive',
  unarchive: 'Move to inbox',
  snooze: 'Snooze',
  snoozeHour: 'For an hour',
  snoozeTomorrow: 'Until tomorrow',
  snoozeWeek: 'For a week',
  of: (action, title) => `${action}: ${title}`,
  preferences: 'Preferences',
  back: 'Back to notifications',
  noPreferences: 'There is nothing to choose.',
  ways: { inbox: 'Inbox', broadcast: 'While a page is open', mail: 'Mail', web_push: 'Push', webhook: 'Other' },
  required: 'always on',
  retry: 'Try again',
  failed: (error) =>
    error.status === 0 ? 'There is no connection. What you did was undone.' : 'That did not work. What you did was undone.',
};
