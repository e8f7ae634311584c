/**
 * What the user has done and the server has not confirmed yet.
 *
 * Owns the meaning of a mark: which notifications it covers, what it does to one, and by how much it moves the counts.
 * Never changes what the server has said: marks are laid over it, so undoing one is leaving it out. The invariant: a mark is
 * plain values, so that other tabs can lay it over theirs. Read on in `inbox.ts`.
 */

import { isAway, type Notification, type State } from './notification.js';

export interface Mark {
  key: string;
  verb: 'read' | 'unread' | 'seen' | 'archive' | 'unarchive' | 'snooze';
  at: string;
  /** These; or, without, all up to the two numbers. */
  ids?: readonly string[];
  upToSeq?: number;
  upToAnnounced?: number;
  category?: string | undefined;
  onlyRead?: boolean;
  until?: string;
  /** By how much the counts differ while it is under way. */
  unread: number;
  unseen: number;
}

export function covers(mark: Mark, row: Notification): boolean {
  if (mark.ids) return mark.ids.includes(row.id);
  return (
    row.seq <= ((row.announcement ? mark.upToAnnounced : mark.upToSeq) ?? -1) &&
    (mark.category === undefined || mark.category === row.category) &&
    (!mark.onlyRead || row.read_at !== null)
  );
}

/** The notification as it is once the mark is confirmed. */
export function marked(row: Notification, mark: Mark): Notification {
  if (!covers(mark, row)) return row;
  const { at } = mark;
  const seen_at = row.seen_at ?? at;
  const changes: Record<Mark['verb'], Partial<Notification>> = {
    read: { seen_at, read_at: row.read_at ?? at },
    unread: { read_at: null },
    seen: { seen_at },
    archive: { archived_at: row.archived_at ?? at },
    unarchive: { archived_at: null },
    snooze: { snoozed_until: mark.until ?? null },
  };
  return { ...row, ...changes[mark.verb] };
}

/** What a notification adds to the counts: what is archived or asleep is not news. */
const weight = (row: Notification, at: 'read_at' | 'seen_at', now: string) => +(row[at] === null && !isAway(row, now));

/** By how much a mark moves the counts, as far as the notifications that are here can tell. */
export function weigh(mark: Mark, rows: Notification[], shown: Pick<State, 'unread' | 'unseen'>): Mark {
  const move = (at: 'read_at' | 'seen_at') =>
    rows.reduce((sum, row) => sum + weight(marked(row, mark), at, mark.at) - weight(row, at, mark.at), 0);
  // All of them: also those that are not here.
  const all = !mark.ids && mark.category === undefined && !mark.onlyRead;
  return {
    ...mark,
    unread: all && mark.verb === 'read' ? -shown.unread : move('read_at'),
    unseen: all ? -shown.unseen : move('seen_at'),
  };
}
