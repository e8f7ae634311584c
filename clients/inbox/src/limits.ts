/**
 * Every bound of the inbox, in one place.
 *
 * Owns numbers. Never decides what happens at them: that is said here and done where they are used. The invariant: whatever
 * grows or waits has a line here. Read on in `inbox.ts`.
 */

/** A request, or the application's authorization, is given up after this: `timeout`. */
export const REQUEST_MS = 15_000;
/** How long a call waits for a socket to prove itself with: `offline`. */
export const SOCKET_MS = 15_000;
/** A session is renewed this long before it ends, so that none ends on its way. */
export const SESSION_MARGIN_MS = 30_000;
/** How long a tab waits for another one that is at the same work; then it works alone. */
export const LOCK_MS = 20_000;
/** How long a tab keeps a lock after its work, for the others to hear of the result before they get the lock. */
export const LOCK_REST_MS = 25;
/** Marks under way; one more is refused: `busy`. */
export const MARKS_MAX = 100;
/** Another tab's mark whose end was never heard, because that tab is gone, is forgotten. */
export const FOREIGN_MARK_MS = 30_000;
/** Notifications kept; past it the oldest are let go, and there are no older pages. */
export const ROWS_MAX = 2_000;
/** Pages of changes fetched in one go; past it the list starts anew. */
export const CHANGE_PAGES_MAX = 10;
/** Notifications of a page of changes. */
export const CHANGES_PER_PAGE = 100;
/** A change is fetched a moment after it is heard of: the answer to our own call may say it first. */
export const SYNC_MS = 100;
/** A new announcement concerns every browser at once; they ask within this time, each at another moment. */
export const ANNOUNCEMENT_SPREAD_MS = 5_000;
/** After a failure: the first pause, doubled each time up to the last one, less a random half. */
export const RETRY_MS = 1_000;
export const RETRY_MAX_MS = 60_000;

/** The pause after so many failures. */
export const pause = (failures: number) => Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures) * (0.5 + Math.random() / 2);
