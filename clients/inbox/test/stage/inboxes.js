/**
 * Inboxes in memory, by the server's rules.
 *
 * Owns what an inbox answers and pushes, as docs/inbox.md has it. Never speaks HTTP. The invariant: the counts are counted,
 * not kept, so they are right whatever was done. Read on in `server.js`.
 */

import { randomUUID } from 'node:crypto';

/** A mistake of the caller, as the server words it. */
export class Refusal extends Error {
  constructor(status, code, message, more = {}) {
    super(message);
    this.status = status;
    this.body = { error: code, message, ...more };
  }
}

const ARRIVED = 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated';
const YEAR_MS = 366 * 24 * 3600 * 1000;
const now = () => new Date().toISOString();

export class Inboxes {
  #users = new Map();
  #announcements = [];
  /** A number is not given twice, also when its announcement was taken back. */
  #announced = 0;
  #categories = new Map();
  #push;
  /** Bulk marks of more than so many name none of them. */
  static CHANGED_MAX = 100;

  /** `push(user, event, payload)` says something on the user's channel; `everyone()` names who is there. */
  constructor(push, everyone) {
    this.#push = push;
    this.everyone = everyone;
  }

  #of(user) {
    let inbox = this.#users.get(user);
    if (!inbox) {
      inbox = { rows: new Map(), seq: 0, rev: 0, gone: [], floors: [], forgotten: 0, touched: new Map(), preferences: new Map(), subscriptions: [] };
      this.#users.set(user, inbox);
    }
    return inbox;
  }

  #rows(user) {
    const inbox = this.#of(user);
    return [...inbox.rows.values(), ...this.#announcements.map((row) => inbox.touched.get(row.id) ?? row)];
  }

  #isNews(row, at) {
    return row[at] === null && row.archived_at === null && !(row.snoozed_until > now());
  }

  state(user) {
    const { seq, rev } = this.#of(user);
    const rows = this.#rows(user);
    return {
      unread: rows.filter((row) => this.#isNews(row, 'read_at')).length,
      unseen: rows.filter((row) => this.#isNews(row, 'seen_at')).length,
      seq,
      rev,
      announced: this.#announced,
    };
  }

  #updated(user, changed, reset = false) {
    this.#push(user, 'inbox.updated', { ...this.state(user), changed, reset });
  }

  /** Stores and pushes. `quiet` does not push, as if nobody had been connected. */
  notify({ to, kind, category = null, title, body = null, action_url = null, actions = [], data = {}, subject = null, digest = null, expires_at = null }, { quiet = false } = {}) {
    if (!kind || !title) throw new Refusal(422, 'invalid', 'kind and title are needed', { path: kind ? '/title' : '/kind' });
    const id = randomUUID();
    const row = {
      id, kind, category, title, body, action_url, actions, data, subject, expires_at,
      announcement: false, group: digest, group_count: 1, created_at: now(), updated_at: now(),
      read_at: null, seen_at: null, archived_at: null, snoozed_until: null,
    };
    if (to.all) {
      this.#announcements.push({ ...row, announcement: true, seq: ++this.#announced, rev: 0 });
      if (!quiet) for (const user of this.everyone()) this.#arrived(user, this.#announcements.at(-1));
      return id;
    }
    for (const user of to.users ?? [to.user]) {
      const inbox = this.#of(user);
      const gathered = digest && [...inbox.rows.values()].find((held) => held.group === digest && held.read_at === null);
      if (gathered) Object.assign(gathered, { group_count: gathered.group_count + 1, rev: ++inbox.rev, updated_at: now(), title, body, seen_at: null });
      else inbox.rows.set(id, { ...row, seq: ++inbox.seq, rev: ++inbox.rev });
      if (quiet) continue;
      this.#arrived(user, gathered || inbox.rows.get(id));
      this.#updated(user, [(gathered || inbox.rows.get(id)).id]);
    }
    return id;
  }

  #arrived(user, row) {
    const { data, id, kind, title, body, action_url, seq, rev, announcement } = row;
    this.#push(user, ARRIVED, {
      ...data, id, type: kind, title, body, action_url,
      _campanile: { ...this.state(user), seq, rev, announcement, notification: { ...row } },
    });
  }

  /** What the server does for an event that the application has published itself. */
  capture(user, { id, type, ...payload }) {
    const inbox = this.#of(user);
    this.notify({ to: { user }, kind: type, title: payload.title, data: payload }, { quiet: true });
    const row = [...inbox.rows.values()].at(-1);
    inbox.rows.delete(row.id);
    inbox.rows.set(id, { ...row, id });
    this.#push(user, ARRIVED, { id, type, ...payload });
    this.#updated(user, [id]);
  }

  retract(user, id, { quiet = false } = {}) {
    const inbox = this.#of(user);
    inbox.rows.delete(id);
    inbox.gone.push({ id, rev: ++inbox.rev });
    if (!quiet) this.#updated(user, [id]);
  }

  takeBackAnnouncement(id) {
    this.#announcements = this.#announcements.filter((row) => row.id !== id);
    for (const user of this.everyone()) this.#updated(user, [], true);
  }

  /** Its tombstones have been swept. */
  forget(user) {
    const inbox = this.#of(user);
    inbox.forgotten = inbox.rev;
    inbox.gone = [];
  }

  backup() {
    return structuredClone([this.#users, this.#announcements, this.#announced]);
  }

  restore([users, announcements, announced]) {
    this.#users = structuredClone(users);
    this.#announcements = structuredClone(announcements);
    this.#announced = announced;
  }

  page(user, query) {
    const limit = Number(query.get('limit') ?? 20);
    if (!(limit >= 1 && limit <= 100)) throw new Refusal(422, 'bad_limit', 'limit must be 1 to 100', { path: '/limit' });
    if (query.has('since')) return this.#changes(user, Number(query.get('since')), query.get('announced'), limit);
    const status = query.get('status') ?? 'open';
    const category = query.get('category');
    const isAsleep = (row) => row.snoozed_until > now();
    const belongs = {
      open: (row) => !row.archived_at && !isAsleep(row),
      unread: (row) => !row.archived_at && !isAsleep(row) && !row.read_at,
      archived: (row) => row.archived_at,
      snoozed: (row) => !row.archived_at && isAsleep(row),
      all: () => true,
    }[status];
    if (!belongs) throw new Refusal(422, 'bad_status', `no such status: ${status}`, { path: '/status' });
    const [seq, announced] = (query.get('before') ?? 'Infinity-Infinity').split('-').map(Number);
    const rows = this.#rows(user)
      .filter((row) => row.seq < (row.announcement ? announced : seq) && belongs(row) && (!category || row.category === category))
      .sort((a, b) => b.created_at.localeCompare(a.created_at) || b.seq - a.seq);
    const notifications = rows.slice(0, limit);
    const least = (kind, start) => Math.min(start, ...notifications.filter((row) => row.announcement === kind).map((row) => row.seq));
    const next = rows.length > limit ? `${least(false, seq)}-${least(true, announced)}` : null;
    return { notifications, next, gone: [], ...this.state(user) };
  }

  #changes(user, since, announced, limit) {
    const inbox = this.#of(user);
    if (since < inbox.forgotten || since > inbox.rev) {
      throw new Refusal(410, 'too_old', 'what was removed since is not known any more: start anew', this.state(user));
    }
    const changed = this.#rows(user)
      .filter((row) => row.rev > since || (row.announcement && announced !== null && row.seq > Number(announced)))
      .sort((a, b) => a.rev - b.rev);
    const notifications = changed.slice(0, limit);
    return {
      notifications,
      next: changed.length > limit ? notifications.at(-1).rev : null,
      gone: inbox.gone.filter(({ rev }) => rev > since).map(({ id }) => id),
      floors: inbox.floors.filter(({ rev }) => rev > since),
      ...this.state(user),
    };
  }

  #find(user, id) {
    const row = this.#rows(user).find((one) => one.id === id);
    if (!row) throw new Refusal(404, 'unknown_notification', 'there is no such notification in this inbox');
    if (!row.announcement) return row;
    const { touched } = this.#of(user);
    if (!touched.has(id)) touched.set(id, { ...row });
    return touched.get(id);
  }

  mark(user, id, verb, body) {
    const row = this.#find(user, id);
    const at = now();
    const changes = {
      read: { read_at: row.read_at ?? at, seen_at: row.seen_at ?? at },
      unread: { read_at: null },
      seen: { seen_at: row.seen_at ?? at },
      archive: { archived_at: row.archived_at ?? at },
      unarchive: { archived_at: null },
    };
    if (verb === 'snooze') {
      const until = Date.parse(body?.until);
      if (!(until > Date.now() && until < Date.now() + YEAR_MS)) {
        throw new Refusal(422, 'bad_until', 'until must be in the future, and within a year', { path: '/until' });
      }
      changes.snooze = { snoozed_until: new Date(until).toISOString() };
    }
    if (!changes[verb]) throw new Refusal(404, 'unknown_route', 'there is no such mark');
    const isChange = Object.entries(changes[verb]).some(([name, value]) => row[name] !== value);
    if (isChange) Object.assign(row, changes[verb], { rev: ++this.#of(user).rev });
    const answer = { notification: { ...row }, ...this.state(user) };
    if (isChange) this.#updated(user, [id]);
    return answer;
  }

  /** Wakes what is asleep, as if its time had come. */
  wake(user) {
    const inbox = this.#of(user);
    const woken = [...inbox.rows.values()].filter((row) => row.snoozed_until);
    for (const row of woken) Object.assign(row, { snoozed_until: null, read_at: null, seen_at: null, rev: ++inbox.rev });
    this.#updated(user, woken.map(({ id }) => id));
  }

  /** Up to a number, or by ids: a single change, whatever it covers. */
  bulk(user, verb, { ids, up_to_seq = 0, up_to_announced = 0, category }) {
    const inbox = this.#of(user);
    const at = now();
    const covered = this.#rows(user)
      .filter((row) => (ids ? ids.includes(row.id) : row.seq <= (row.announcement ? up_to_announced : up_to_seq)))
      .filter((row) => category === undefined || row.category === category)
      .filter((row) => verb !== 'archive-read' || (row.read_at && !row.archived_at && !row.announcement))
      .map((row) => this.#find(user, row.id));
    const rev = ++inbox.rev;
    for (const row of covered) {
      if (verb === 'archive-read') row.archived_at = at;
      else row.seen_at ??= at;
      if (verb === 'read-all') row.read_at ??= at;
      if (ids || verb === 'archive-read') row.rev = rev;
    }
    if (!ids && verb !== 'archive-read') {
      for (const mark of verb === 'read-all' ? ['read', 'seen'] : ['seen']) {
        const floor = { mark, category: category ?? null, at, rev };
        if (up_to_seq) inbox.floors.push({ ...floor, announcements: false, up_to: up_to_seq });
        if (up_to_announced) inbox.floors.push({ ...floor, announcements: true, up_to: up_to_announced });
      }
    }
    const changed = covered.map(({ id }) => id);
    this.#updated(user, changed.slice(0, Inboxes.CHANGED_MAX), changed.length > Inboxes.CHANGED_MAX);
    return this.state(user);
  }

  putCategory(name, terms) {
    this.#categories.set(name, terms);
  }

  preferences(user) {
    const chosen = this.#of(user).preferences;
    const categories = [...this.#categories].map(([category, { label, default: usual = {}, required = [] }]) => {
      const channels = {};
      for (const way of ['inbox', 'broadcast', 'mail', 'web_push', 'webhook']) {
        channels[way] = required.includes(way) || (chosen.get(category)?.[way] ?? usual[way] ?? true);
      }
      return { category, label, channels, required };
    });
    return { categories, ...this.state(user) };
  }

  setPreference(user, { category, channels }) {
    const terms = this.#categories.get(category);
    if (!terms) throw new Refusal(404, 'unknown_category', `there is no category ${category}`);
    const fixed = Object.keys(channels).find((way) => !channels[way] && terms.required?.includes(way));
    if (fixed) throw new Refusal(409, 'required', `${fixed} cannot be switched off for ${category}`, { path: `/channels/${fixed}` });
    const { preferences } = this.#of(user);
    preferences.set(category, { ...preferences.get(category), ...channels });
    return this.preferences(user);
  }

  subscriptions(user) {
    return this.#of(user).subscriptions;
  }
}
