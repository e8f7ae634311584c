/**
 * What can go wrong, as one type.
 *
 * Owns the error that every call of the inbox rejects with. Never retries. The invariant: `code` is for programs, the
 * message for people. Read on in `calls.ts`.
 */

/** `network`, `timeout`, `offline`, `busy`, `closed`, `unexpected` and `unauthorized` are ours; the rest is the server's. */
export type InboxErrorCode =
  | 'network'
  | 'timeout'
  | 'offline'
  | 'busy'
  | 'closed'
  | 'unexpected'
  | 'unauthorized'
  | 'too_old'
  | 'required'
  | (string & {});

/** Why a call has failed. What it had changed in the store is undone. */
export class InboxError extends Error {
  override readonly name = 'InboxError';

  constructor(
    readonly code: InboxErrorCode,
    message: string,
    /** The HTTP status; 0 if there was no answer. */
    readonly status = 0,
    /** When the server wants to be asked again, in milliseconds. */
    readonly retryAfterMs?: number,
    /** The member of the request that was wrong, as a JSON pointer. */
    readonly path?: string,
    cause?: unknown,
  ) {
    super(message, { cause });
  }
}

/** Ends a wait that would have no end. */
export function within<T>(promise: Promise<T>, ms: number, code: InboxErrorCode, message: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const end = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new InboxError(code, message)), ms);
  });
  return Promise.race([promise, end]).finally(() => clearTimeout(timer));
}
