/**
 * What the inbox consists of, as the server says it.
 *
 * Owns the shapes of `/inbox`. Never fetches or keeps any. The invariant: `seq` is given once, `rev` is taken by every
 * change, so of two versions of a notification the one with the greater `rev` is the later. Read on in `inbox.ts`.
 */

/** A button of a notification. */
export interface Action {
  label: string;
  url: string;
}

/** Something that a user should know. */
export interface Notification {
  id: string;
  /** Its number in the user's inbox; an announcement's number among announcements. */
  seq: number;
  /** The number of its latest change. */
  rev: number;
  /** Sent to an audience or to everyone, and stored once for all of them. */
  announcement: boolean;
  kind: string;
  category: string | null;
  title: string;
  body: string | null;
  action_url: string | null;
  actions: Action[];
  data: Record<string, unknown>;
  subject: { type: string; id: string } | null;
  group: string | null;
  group_count: number;
  created_at: string;
  updated_at: string;
  read_at: string | null;
  seen_at: string | null;
  archived_at: string | null;
  snoozed_until: string | null;
  expires_at: string | null;
}

/** Counts and numbers that every answer carries. */
export interface State {
  unread: number;
  unseen: number;
  /** The newest notification's number. */
  seq: number;
  /** The latest change's number. */
  rev: number;
  /** The newest announcement's number. */
  announced: number;
}

/** Which notifications are shown. Nothing set: all that are neither archived nor snoozed. */
export interface View {
  status?: 'unread' | 'archived' | 'snoozed' | undefined;
  category?: string | undefined;
}

/** By which ways a user wants to hear of a category. */
export interface Preference {
  category: string;
  label: string;
  channels: Record<string, boolean>;
  /** The ways that cannot be switched off. */
  required: string[];
}

/** Not news, and not in the list: archived, or asleep. Times are compared as they are written: all in UTC, to the millisecond. */
export const isAway = (row: Notification, now: string) => row.archived_at !== null || (row.snoozed_until ?? '') > now;

/** Whether a notification is among those of a view. */
export function belongs(row: Notification, { status, category }: View, now: string): boolean {
  if (category !== undefined && row.category !== category) return false;
  if (status === 'archived') return row.archived_at !== null;
  if (status === 'snoozed') return row.archived_at === null && isAway(row, now);
  return !isAway(row, now) && (status !== 'unread' || row.read_at === null);
}

/** Newest first. Announcements are numbered apart, so between the two kinds only the time can tell. */
export function newestFirst(a: Notification, b: Notification): number {
  if (a.created_at !== b.created_at) return a.created_at < b.created_at ? 1 : -1;
  return b.seq - a.seq;
}

/** The address if a page may lead there: http and https, and nothing that would run (`javascript:`). */
export function safeUrl(address: string | null | undefined, base = globalThis.document?.baseURI): string | null {
  if (!address) return null;
  try {
    const url = new URL(address, base);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
