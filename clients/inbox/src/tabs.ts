/**
 * The tabs of one user in one browser.
 *
 * Owns the channel between them, and whose turn it is. Never looks into what they say. The invariant: alone, or where there
 * are no locks, everything works, only that two tabs may do the same twice. Read on in `inbox.ts`.
 */

import { LOCK_MS, LOCK_REST_MS } from './limits.js';

export class Tabs<Message> {
  #line: BroadcastChannel | undefined;
  /** Missing where a page comes over plain http from another machine. */
  readonly #locks = globalThis.navigator?.locks as LockManager | undefined;
  /** Without locks a tab takes turns at least with itself. */
  readonly #turns: Record<string, Promise<unknown>> = {};
  readonly #name: string;

  constructor(name: string, hear: (message: Message) => void) {
    this.#name = name;
    this.#line = new BroadcastChannel(name);
    this.#line.onmessage = (event: MessageEvent<Message>) => hear(event.data);
  }

  tell(message: Message): void {
    this.#line?.postMessage(message);
  }

  /** Does `work` when no other tab is at the same; says its result before it has rested, and the next one's turn comes after. */
  async alone<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (!this.#locks) return (this.#turns[what] = (this.#turns[what] ?? Promise.resolve()).then(work, work)) as Promise<T>;
    const { promise, resolve, reject } = deferred<T>();
    const begin = () => {
      const working = work();
      working.then(resolve, reject);
      return working.then(rest, rest);
    };
    // A page that hangs while it has the turn must not keep the others from theirs.
    const signal = AbortSignal.timeout(LOCK_MS);
    this.#locks.request(`${this.#name} ${what}`, { signal }, begin).catch(() => work().then(resolve, reject));
    return promise;
  }

  /** Begins when no other tab has `what`, and has it until `signal` ends it or the tab is gone. */
  keep(what: string, signal: AbortSignal, begin: () => void): void {
    if (!this.#locks) return begin();
    const until = () => {
      begin();
      return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    };
    this.#locks.request(`${this.#name} ${what}`, { signal }, until).catch(() => signal.aborted || begin());
  }

  close(): void {
    this.#line?.close();
    this.#line = undefined;
  }
}

const rest = () => new Promise((resolve) => setTimeout(resolve, LOCK_REST_MS));

export function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
