/**
 * Waiting for what must happen, with an end and a reason.
 *
 * Nothing here sleeps for a fixed time: a test that must show that something did *not* happen
 * publishes a later event and waits for that one instead.
 */

export const PATIENCE_MS = 8_000;
const REPORT_CHARS_MAX = 2_000;

/** `promise`, or a rejection that says what was missing after `ms`. */
export function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what()}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Everything that one source has said, in order; each entry can be awaited once. */
export class Recorder {
  #name;
  #entries = [];
  #taken = new Set();
  #waiting = [];

  constructor(name) {
    this.#name = name;
  }

  add(entry) {
    const index = this.#entries.push(entry) - 1;
    const waiter = this.#waiting.findIndex(({ match }) => match(entry));
    if (waiter < 0) return;
    this.#taken.add(index);
    this.#waiting.splice(waiter, 1)[0].resolve(entry);
  }

  /** All entries so far, awaited or not. */
  get all() {
    return [...this.#entries];
  }

  // Its last words, for the report of a wait that failed.
  #summary() {
    const text = JSON.stringify(this.#entries);
    return text.length <= REPORT_CHARS_MAX ? text : `… ${text.slice(-REPORT_CHARS_MAX)}`;
  }

  /** The first matching entry that nobody has awaited yet, now or when it comes. */
  next(match, what = 'an entry', ms = PATIENCE_MS) {
    const index = this.#entries.findIndex((entry, i) => !this.#taken.has(i) && match(entry));
    if (index >= 0) {
      this.#taken.add(index);
      return Promise.resolve(this.#entries[index]);
    }
    let waiter;
    const found = new Promise((resolve) => {
      waiter = { match, resolve };
      this.#waiting.push(waiter);
    });
    const report = () => `${what} from ${this.#name}; it said ${this.#summary()}`;
    return within(found, report, ms).finally(() => {
      this.#waiting = this.#waiting.filter((other) => other !== waiter);
    });
  }
}
