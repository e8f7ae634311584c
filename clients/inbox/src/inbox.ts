/**
 * A user's inbox in the browser.
 *
 * Owns what is known of the notifications: what the server has said, with the marks under way laid over it. Never opens a
 * socket beside the application's. The invariant: `synced` is the change up to which everything here is whole, so whatever
 * was missed is one request with `since=synced` away. Read on in `marks.ts`, `calls.ts`, `feed.ts`.
 */

import { Calls, type Proof, type Session } from './calls.js';
import { authorizeBy, originOf, type EchoLike, type PusherLike } from './connection.js';
import { InboxError } from './failure.js';
import { ARRIVED, follow, stream, UPDATED } from './feed.js';
import {
  ANNOUNCEMENT_SPREAD_MS,
  CHANGE_PAGES_MAX,
  CHANGES_PER_PAGE,
  FOREIGN_MARK_MS,
  MARKS_MAX,
  pause,
  ROWS_MAX,
  SYNC_MS,
} from './limits.js';
import { covers, marked, weigh, type Mark } from './marks.js';
import { belongs, newestFirst, type Notification, type Preference, type State, type View } from './notification.js';
import { Tabs } from './tabs.js';

export interface InboxOptions {
  /** The user's inbox channel, `private-user.42`. */
  channel: string;
  /** The application's Pusher instance. */
  pusher?: PusherLike;
  /** Or its Echo instance. */
  echo?: EchoLike;
  /** The server's origin. Without: where the Pusher instance connects to. */
  url?: string;
  /** The app's key: for the event stream of a page that has no Pusher instance. */
  key?: string;
  /** What opens a session. Without: the application's authorization endpoint, as pusher-js calls it. */
  session?: (socketId: string | undefined) => Promise<Proof | string>;
  /** That `session` does without a socket id: a JWT, or a token of the application. */
  socketless?: boolean;
  /** Notifications of a page; 20 unless set, at most 100. */
  pageSize?: number;
}

/** What a page shows. A new object after each change, and only then. */
export interface Snapshot {
  /** Those of the view that have been loaded, newest first. */
  readonly notifications: readonly Notification[];
  readonly unread: number;
  readonly unseen: number;
  readonly view: View;
  /** `idle` until `load` is called. */
  readonly phase: 'idle' | 'loading' | 'ready' | 'failed';
  /** There are older ones: `more` fetches them. */
  readonly more: boolean;
  /** Pushes come. */
  readonly live: boolean;
  /** Why `phase` is `failed`. */
  readonly error: InboxError | null;
}

/** What was marked at a stroke, on this device or another. */
interface Floor {
  mark: 'read' | 'seen';
  announcements: boolean;
  category: string | null;
  up_to: number;
  at: string;
  rev: number;
}

interface Page extends State {
  notifications: Notification[];
  next: string | number | null;
  gone?: string[];
  floors?: Floor[];
}

type Said = State & { notification?: Notification };

/** The end of a mark; without what the server has said, it has failed. */
interface Settled {
  say: 'settled';
  key: string;
  said?: Said;
}

/** What tabs say to each other. */
type Word =
  | { say: 'hello' }
  | { say: 'session'; session: Session }
  | { say: 'push'; name: string; payload: unknown }
  | { say: 'live'; live: boolean }
  | { say: 'mark'; mark: Mark }
  | Settled
  | { say: 'changes'; since: State; page: Page }
  | { say: 'list'; page: Page };

type Listener = () => void;
type ArrivalListener = (notification: Notification) => void;

/** Both numbers only grow, so their sum says which of two states is the later, and by how many steps. */
const steps = ({ rev, announced }: State) => rev + announced;
const stateOf = ({ unread, unseen, seq, rev, announced }: State): State => ({ unread, unseen, seq, rev, announced });

const NOTHING: State = { unread: 0, unseen: 0, seq: 0, rev: 0, announced: 0 };
export class Inbox {
  #rows = new Map<string, Notification>();
  #marks = new Map<string, Mark>();
  #state: State | undefined;
  /** Where `rows` is whole. */
  #synced: State | undefined;
  /** Where all arrivals have been told, and those told beyond. */
  #heads: State | undefined;
  #told = new Set<string>();
  #view: View = {};
  #phase: Snapshot['phase'] = 'idle';
  #error: InboxError | null = null;
  #live = false;
  #cursor: string | null = null;
  /** The oldest of the pages: what is older is hidden until its page is loaded, or there would be holes. */
  #oldest: Notification | undefined;
  #snapshot: Snapshot | undefined;
  #failures = 0;
  /** The next request for changes is made though nothing is missing. */
  #force = false;
  /** The list is fetched again instead. */
  #anew = false;
  /** The steps of an answer to a mark that came before what is pushed of it. */
  #settled = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  /** Counts what was asked to be loaded, so that only the last answer is taken. */
  #generation = 0;
  #closed = false;
  /** Ends the event stream; set where WebSockets are blocked. */
  #unstream: (() => void) | undefined;
  /** Another tab's list, which may spare a request. */
  #offered: Page | undefined;
  readonly #listeners = new Set<Listener>();
  readonly #arrivalListeners = new Set<ArrivalListener>();
  readonly #tabs: Tabs<Word>;
  readonly #calls: Calls;
  readonly #ends: (() => void)[] = [];

  readonly #options: InboxOptions;

  constructor(options: InboxOptions) {
    this.#options = options;
    const { channel, session } = options;
    const pusher: PusherLike | undefined = options.pusher ?? options.echo?.connector.pusher;
    const url = options.url ?? (pusher && originOf(pusher));
    const key = options.key ?? pusher?.key;
    if (!url || !key || !(pusher || session)) {
      throw new TypeError('an inbox needs a Pusher or Echo instance, or url, key and session');
    }
    this.#tabs = new Tabs(`campanile-inbox ${url} ${key} ${channel}`, (word) => this.#hear(word));
    const prove = async (socketId: string | undefined): Promise<Proof> => {
      if (!session) return authorizeBy(pusher!, channel, socketId!);
      const proof = await session(socketId);
      return typeof proof === 'string' ? { token: proof } : proof;
    };
    this.#calls = new Calls(
      { url, channel, prove, socketless: !!options.socketless },
      this.#tabs,
      (opened, answer) => {
        this.#tabs.tell({ say: 'session', session: opened });
        if ((answer as State).rev === undefined) return;
        this.#learn(answer as State);
        if (!this.#isWhole()) this.#syncSoon(SYNC_MS);
        this.#changed();
      },
      () => this.#tabs.tell({ say: 'hello' }),
    );
    const listener = {
      push: (name: string, payload: unknown, alone: boolean) => {
        if (alone) this.#tabs.tell({ say: 'push', name, payload });
        this.#push(name, payload);
      },
      live: (live: boolean) => this.#setLive(live),
      socket: (id: string) => this.#calls.connected(id),
    };
    const streamed = (wanted: boolean) => {
      if (wanted) {
        // The server waits for the session of the stream's socket before it says anything else.
        this.#unstream ??= stream(this.#tabs, `${url}/inbox/stream?app_key=${encodeURIComponent(key)}`, {
          push: listener.push,
          live: (live) => {
            listener.live(live);
            this.#tabs.tell({ say: 'live', live });
          },
          socket: (id) => {
            listener.socket(id);
            // Another tab's session, if there is one, feeds another stream.
            this.#calls.session = undefined;
            this.#calls.token().catch((error: InboxError) => this.#fail(error));
          },
        });
      } else {
        this.#unstream?.();
        this.#unstream = undefined;
      }
    };
    this.#ends.push(() => streamed(false));
    if (pusher) this.#ends.push(follow(pusher, channel, listener, streamed));
    else streamed(true);
    const shown = () => this.#syncSoon(0);
    const page = globalThis.document as Document | undefined;
    page?.addEventListener('visibilitychange', shown);
    this.#ends.push(() => page?.removeEventListener('visibilitychange', shown));
    this.#tabs.tell({ say: 'hello' });
  }

  /** Calls back after each change of the snapshot, until the function that it returns is called. */
  readonly subscribe = (listener: Listener): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Calls back once for each notification that comes in. */
  readonly onArrival = (listener: ArrivalListener): (() => void) => {
    this.#arrivalListeners.add(listener);
    return () => this.#arrivalListeners.delete(listener);
  };

  /** What to show: the same object until something changes. */
  readonly getSnapshot = (): Snapshot => (this.#snapshot ??= this.#look());

  #look(): Snapshot {
    let { unread, unseen } = this.#state ?? NOTHING;
    for (const mark of this.#marks.values()) {
      unread += mark.unread;
      unseen += mark.unseen;
    }
    return {
      notifications: this.#phase === 'idle' ? [] : this.#visible(),
      unread: Math.max(0, unread),
      unseen: Math.max(0, unseen),
      view: this.#view,
      phase: this.#phase,
      more: this.#cursor !== null && this.#rows.size < ROWS_MAX,
      live: this.#live,
      error: this.#error,
    };
  };

  /** With the marks over them, those of the view. */
  #visible(): Notification[] {
    const now = new Date().toISOString();
    const oldest = this.#oldest;
    const shown: Notification[] = [];
    for (const row of this.#rows.values()) {
      const after = this.#overlaid(row);
      const isHere = belongs(row, this.#view, now) && !(oldest && newestFirst(row, oldest) > 0);
      if (isHere && belongs(after, this.#view, now)) shown.push(after);
      // Not what a mark has hidden, which may come back.
      if (!isHere && after === row) this.#rows.delete(row.id);
    }
    shown.sort(newestFirst);
    for (const { id } of shown.splice(ROWS_MAX)) this.#rows.delete(id);
    return shown;
  }

  #overlaid(row: Notification): Notification {
    for (const mark of this.#marks.values()) row = marked(row, mark);
    return row;
  }

  #changed(): void {
    this.#snapshot = undefined;
    for (const listener of [...this.#listeners]) listener();
  }

  #setLive(live: boolean): void {
    if (live === this.#live) return;
    this.#live = live;
    // Subscribed before we listened: the state that the server sends then has gone by.
    if (live && !this.#state) setTimeout(() => this.#state ?? this.refresh().catch(() => {}), SYNC_MS);
    this.#changed();
  }

  #fail(error: InboxError): void {
    if (this.#closed) return;
    if (this.#phase === 'loading') {
      this.#phase = 'failed';
      this.#error = error;
    }
    this.#changed();
  }

  // What comes in

  #push(name: string, payload: unknown): void {
    if (this.#closed) return;
    if (name === ARRIVED) return this.#arrived(payload as Record<string, never>);
    const said = payload as State & { changed?: string[]; reset?: boolean };
    const known = this.#state;
    const ahead = known ? steps(said) - steps(known) : 1;
    if (name === UPDATED && ahead > 0) {
      // What these changed is in the counts that have just been said.
      for (const mark of this.#marks.values()) {
        if (said.reset || !mark.ids || mark.ids.every((id) => said.changed?.includes(id))) mark.unread = mark.unseen = 0;
      }
    }
    this.#learn(said);
    // On subscribing the server says where it is. Before what it has said already: it was restored from a backup.
    if (ahead < 0) this.#force ||= name !== UPDATED;
    // No change of this user's, yet something is otherwise: an announcement was taken back.
    if (!ahead && steps(said) === this.#settled) this.#settled = 0;
    else if (!ahead && said.reset) this.#anew = true;
    // What concerns one user is asked for at once; what concerns everybody, not by everybody at once.
    if (ahead || this.#force || this.#anew) this.#syncSoon(known?.rev === said.rev ? Math.random() * ANNOUNCEMENT_SPREAD_MS : SYNC_MS);
    this.#changed();
  }

  #arrived({ _campanile }: { _campanile?: State & { notification: Notification } }): void {
    // An event that the application has published and the server has captured: `inbox.updated` follows.
    if (!_campanile) return;
    const { notification: row, unread, unseen, announced } = _campanile;
    const known = this.#state ?? NOTHING;
    // What stands there as `seq` and `rev` is the notification's own, and an announcement's are of another kind.
    const { seq, rev } = row.announcement ? known : row;
    const state = { unread, unseen, announced, seq: Math.max(known.seq, seq), rev };
    const ahead = steps(state) - steps(known);
    // Said already, by a request's answer or by another tab.
    if (ahead < 1) return;
    // Whole only if nothing was missed before it; else the request that fills the gap brings it again.
    this.#extend(state);
    this.#learn(state);
    this.#put(row);
    this.#tellArrival(row);
    if (ahead > 1) this.#syncSoon(SYNC_MS);
    this.#changed();
  }

  /** `rows` is whole here, if it was a step before. */
  #extend(state: State): void {
    if (this.#synced && steps(state) - steps(this.#synced) <= 1) this.#synced = stateOf(state);
  }

  /** Takes counts, unless later ones are known. */
  #learn(said: State): void {
    const known = this.#state;
    if (known && steps(said) < steps(known)) return;
    this.#state = stateOf(said);
    this.#synced ??= this.#state;
    this.#heads ??= { ...this.#state };
  }

  #put(row: Notification): void {
    const held = this.#rows.get(row.id);
    if (this.#phase !== 'idle' && (!held || row.rev >= held.rev)) this.#rows.set(row.id, row);
  }

  #tellArrival(row: Notification): void {
    const heads = this.#heads!;
    const head = row.announcement ? 'announced' : 'seq';
    if (row.seq <= heads[head] || this.#told.has(row.id)) return;
    if (row.seq === heads[head] + 1) heads[head]++;
    else this.#told.add(row.id);
    for (const listener of [...this.#arrivalListeners]) listener(row);
  }

  /** Everything up to here has been fetched. */
  #caughtUp(page: Page): void {
    this.#synced = stateOf(page);
    this.#heads = stateOf(page);
    this.#told.clear();
    this.#failures = 0;
  }

  // What is fetched

  /** Fetches the first page of a view: of the one that is shown, unless another is named. */
  readonly load = async (view: View = this.#view): Promise<void> => {
    const isOther = view.status !== this.#view.status || view.category !== this.#view.category;
    if (!isOther && this.#phase === 'ready') return;
    this.#view = view;
    if (isOther) {
      this.#rows.clear();
      this.#oldest = undefined;
      this.#cursor = null;
    }
    this.#phase = 'loading';
    this.#error = null;
    this.#changed();
    await this.#startAnew().catch((error: InboxError) => {
      this.#retry(error);
      throw error;
    });
  };

  /** Fetches the first page again; with `anyway`, believes its counts even if they are behind what was known. */
  async #startAnew(anyway = false): Promise<void> {
    if (this.#phase === 'idle') {
      const state = stateOf((await this.#calls.call('GET', 'state')) as State);
      this.#state = this.#synced = state;
      this.#heads = { ...state };
      return this.#changed();
    }
    this.#anew = false;
    const generation = ++this.#generation;
    const offered = this.#offered;
    this.#offered = undefined;
    try {
      const isWhole = offered && this.#isDefault() && steps(offered) === steps(this.#state!);
      const page = isWhole ? offered : await this.#fetchPage();
      if (generation !== this.#generation || this.#closed) return;
      const later = [...this.#rows.values()].filter((row) => row.rev > page.rev && !anyway);
      this.#rows = new Map(page.notifications.map((row) => [row.id, row]));
      for (const row of later) this.#put(row);
      this.#caughtUp(page);
      this.#setCursor(page);
      if (anyway) this.#state = undefined;
      this.#learn(page);
      this.#phase = 'ready';
      this.#error = null;
      this.#shareList();
      if (!this.#isWhole()) this.#syncSoon(SYNC_MS);
      this.#changed();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#force = true;
      this.#fail(error as InboxError);
      throw error;
    }
  }

  #fetchPage(before?: string): Promise<Page> {
    const { status, category } = this.#view;
    const query = new URLSearchParams({ limit: String(this.#options.pageSize ?? 20) });
    for (const [name, value] of Object.entries({ status, category, before })) if (value) query.set(name, value);
    return this.#calls.call('GET', `notifications?${query}`) as Promise<Page>;
  }

  #setCursor({ next, notifications }: Pick<Page, 'next' | 'notifications'>): void {
    this.#cursor = next as string | null;
    this.#oldest = next === null ? undefined : (notifications.at(-1) ?? this.#oldest);
  }

  /** Fetches the next older page. */
  readonly more = async (): Promise<void> => {
    if (!this.getSnapshot().more) return;
    const cursor = this.#cursor;
    const generation = this.#generation;
    const page = await this.#fetchPage(cursor!);
    if (generation !== this.#generation || cursor !== this.#cursor || this.#closed) return;
    for (const row of page.notifications) this.#put(row);
    this.#setCursor(page);
    this.#learn(page);
    if (!this.#isWhole()) this.#syncSoon(SYNC_MS);
    this.#changed();
  };

  /** Asks for what has changed, whether or not anything was heard of. */
  readonly refresh = async (): Promise<void> => {
    this.#force = true;
    await (this.#state ? this.#sync() : this.#startAnew());
  };

  /** Fetches changes in a moment, if anybody looks. */
  #syncSoon(ms: number): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // A tab that nobody sees asks when it is seen.
      if (globalThis.document?.visibilityState === 'hidden') return;
      if (this.#phase === 'idle' && !this.#arrivalListeners.size) return;
      this.#sync().catch((error: InboxError) => this.#retry(error));
    }, ms);
  }

  #retry({ status, retryAfterMs }: InboxError): void {
    const wait = pause(this.#failures++);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // What asking again cannot mend waits for the next push.
    if (!status || status >= 500 || status === 429) this.#syncSoon(Math.max(retryAfterMs ?? 0, wait));
  }

  #isWhole(): boolean {
    return !this.#state || steps(this.#synced!) >= steps(this.#state);
  }

  async #sync(): Promise<void> {
    if (this.#anew || this.#phase === 'failed') return this.#startAnew();
    // Another tab may have fetched them while this one was waiting for its turn.
    const isDone = () => !this.#force && this.#isWhole();
    if (isDone()) return;
    await this.#tabs.alone('changes', async () => {
      if (isDone()) return;
      this.#force = false;
      const since = this.#synced!;
      let next: string | number | null = since.rev;
      try {
        for (let pages = 0; next !== null; pages++) {
          if (pages === CHANGE_PAGES_MAX) return await this.#startAnew();
          const page = (await this.#calls.call(
            'GET',
            `notifications?since=${next}&announced=${since.announced}&limit=${CHANGES_PER_PAGE}`,
          )) as Page;
          if (this.#closed) return;
          // Fewer steps than were known: another history.
          if (steps(page) < steps(since)) return await this.#startAnew(true);
          next = page.next;
          const word: Word = { say: 'changes', since, page };
          this.#tabs.tell(word);
          this.#take(word);
        }
      } catch (error) {
        // The tombstones of what is gone since then are gone themselves.
        if ((error as InboxError).status !== 410) throw error;
        await this.#startAnew(true);
      }
    });
  }

  /** Takes changes that this tab or another has fetched. */
  #take({ since, page }: Word & { say: 'changes' }): void {
    for (const id of page.gone ?? []) this.#rows.delete(id);
    for (const floor of page.floors ?? []) {
      const { mark: verb, announcements, category, up_to, at, rev } = floor;
      const mark = { ...NOTHING, key: '', verb, at, upToSeq: up_to, upToAnnounced: up_to, category: category ?? undefined };
      for (const row of this.#rows.values()) {
        // What has a greater number was changed since, and is as it says itself.
        if (row.announcement === announcements && row.rev < rev) this.#rows.set(row.id, marked(row, mark));
      }
    }
    this.#learn(page);
    for (const row of page.notifications) {
      this.#put(row);
      for (const mark of this.#marks.values()) if (covers(mark, row)) mark.unread = mark.unseen = 0;
      if (row.read_at === null) this.#tellArrival(row);
    }
    const before = steps(this.#synced!);
    if (page.next === null && before >= steps(since) && before <= steps(page)) this.#caughtUp(page);
    this.#changed();
  }

  // What the user does

  /** Marks as read, which is to have seen it too. */
  readonly read = (id: string) => this.#markOne('read', id);
  readonly unread = (id: string) => this.#markOne('unread', id);
  readonly archive = (id: string) => this.#markOne('archive', id);
  readonly unarchive = (id: string) => this.#markOne('unarchive', id);

  /** Hides it until then; at most a year from now. */
  readonly snooze = (id: string, until: Date) => this.#markOne('snooze', id, { until: until.toISOString() });

  /** These have been before the user's eyes; or, without ids, all there are now. */
  readonly seen = (ids?: readonly string[]): Promise<void> => {
    if (ids) return this.#mark({ verb: 'seen', ids }, 'seen', { ids });
    return this.#markAll('seen', 'seen');
  };

  /** Marks all as read that are here now, or all of a category. What comes meanwhile stays unread. */
  readonly readAll = (category?: string) => this.#markAll('read', 'read-all', category);

  /** Archives all that are read. */
  readonly archiveRead = (): Promise<void> => {
    const { seq } = this.#state ?? NOTHING;
    return this.#mark({ verb: 'archive', upToSeq: seq, onlyRead: true }, 'archive-read', { up_to_seq: seq });
  };

  #markOne(verb: Mark['verb'], id: string, extra?: { until: string }): Promise<void> {
    return this.#mark({ verb, ids: [id], ...extra }, `notifications/${encodeURIComponent(id)}/${verb}`, extra);
  }

  #markAll(verb: Mark['verb'], path: string, category?: string): Promise<void> {
    const { seq, announced } = this.#state ?? NOTHING;
    const body = { up_to_seq: seq, up_to_announced: announced, ...(category !== undefined && { category }) };
    return this.#mark({ verb, upToSeq: seq, upToAnnounced: announced, category }, path, body);
  }

  async #mark(what: Omit<Mark, 'key' | 'at' | 'unread' | 'unseen'>, path: string, body?: unknown): Promise<void> {
    if (this.#marks.size >= MARKS_MAX) {
      throw new InboxError('busy', `${MARKS_MAX} changes are under way: wait until some are confirmed`);
    }
    const blank: Mark = { ...what, key: `${Math.random()}`, at: new Date().toISOString(), unread: 0, unseen: 0 };
    const mark = weigh(blank, [...this.#rows.values()].map((row) => this.#overlaid(row)), this.getSnapshot());
    this.#marks.set(mark.key, mark);
    this.#tabs.tell({ say: 'mark', mark });
    this.#changed();
    const settled = (word: Settled) => {
      this.#settle(word);
      this.#tabs.tell(word);
    };
    // One after the other: two marks of one notification must not overtake each other on the way.
    const answer = this.#turn.then(() => this.#calls.call('POST', path, body));
    this.#turn = answer.catch(() => {});
    try {
      const said = (await answer) as Said;
      settled({ say: 'settled', key: mark.key, said });
    } catch (error) {
      settled({ say: 'settled', key: mark.key });
      throw error;
    }
  }

  /** A mark has come to its end: it becomes part of what the server has said, or nothing. */
  #settle({ key, said }: Settled): void {
    const mark = this.#marks.get(key);
    if (!mark) return;
    this.#marks.delete(key);
    if (said) {
      if (said.notification) this.#put(said.notification);
      else for (const held of this.#rows.values()) this.#rows.set(held.id, marked(held, mark));
      this.#extend(said);
      if (steps(said) > steps(this.#state ?? NOTHING)) this.#settled = steps(said);
      this.#learn(said);
      if (!this.#isWhole()) this.#syncSoon(SYNC_MS);
    }
    this.#changed();
  }

  // What is only asked

  /** By which ways the user hears of each category. */
  readonly preferences = (): Promise<Preference[]> => this.#askPreferences('GET');

  /** Changes some of a category's ways; 409 `required` where the application insists on one. */
  readonly setPreference = (category: string, channels: Record<string, boolean>): Promise<Preference[]> =>
    this.#askPreferences('PUT', { category, channels });

  async #askPreferences(method: string, body?: unknown): Promise<Preference[]> {
    return ((await this.#calls.call(method, 'preferences', body)) as { categories: Preference[] }).categories;
  }

  /** The key that `PushManager.subscribe` takes as `applicationServerKey`. */
  readonly pushKey = async (): Promise<string> => {
    return ((await this.#calls.call('GET', 'push-key')) as { public_key: string }).public_key;
  };

  /** Lets the server reach this browser while no page is open. */
  readonly addPushSubscription = async (subscription: PushSubscriptionJSON | PushSubscription): Promise<void> => {
    await this.#calls.call('POST', 'push-subscriptions', subscription);
  };

  readonly removePushSubscription = async (endpoint: string): Promise<void> => {
    await this.#calls.call('DELETE', 'push-subscriptions', { endpoint });
  };

  // What the tabs say to each other

  #shareList(): void {
    if (this.#phase !== 'ready' || !this.#isDefault() || !this.#isWhole()) return;
    const notifications = [...this.#rows.values()].sort(newestFirst);
    this.#tabs.tell({ say: 'list', page: { ...this.#state!, notifications, next: this.#cursor } });
  }

  #isDefault(): boolean {
    return !this.#view.status && this.#view.category === undefined;
  }

  #hear(word: Word): void | undefined {
    if (this.#closed) return;
    const calls = this.#calls;
    switch (word.say) {
      case 'hello':
        if (this.#unstream && this.#live) this.#tabs.tell({ say: 'live', live: true });
        if (calls.session) this.#tabs.tell({ say: 'session', session: calls.session });
        return this.#shareList();
      case 'session':
        return calls.share(word.session);
      case 'push':
        return this.#push(word.name, word.payload);
      case 'live':
        // A tab with a socket knows for itself.
        return this.#unstream && this.#setLive(word.live);
      case 'mark':
        this.#marks.set(word.mark.key, word.mark);
        setTimeout(() => this.#settle({ say: 'settled', key: word.mark.key }), FOREIGN_MARK_MS);
        return this.#changed();
      case 'settled':
        return this.#settle(word);
      case 'changes':
        return this.#take(word);
      case 'list':
        this.#offered = word.page;
        this.#learn(word.page);
    }
  }

  /** Ends it: nothing is heard or told any more, and the channel is left as it was found. */
  readonly close = (): void => {
    this.#closed = this.#calls.closed = true;
    for (const end of this.#ends) end();
    clearTimeout(this.#timer);
    this.#tabs.close();
    this.#listeners.clear();
    this.#arrivalListeners.clear();
  };
}

/** Opens the inbox of the user whose channel is named. */
export const createInbox = (options: InboxOptions): Inbox => new Inbox(options);
