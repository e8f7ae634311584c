/**
 * `<campanile-inbox>`: a bell with the number of unread notifications, and a panel with the list.
 *
 * Owns what is shown of an inbox, and where focus goes. Never fetches: it is given an `Inbox`. The invariant: everything can
 * be done with the keyboard alone, and whatever takes focus away gives it back. Read on in `element/item.ts`.
 */

import { Item, type ItemActions, type Tool } from './element/item.js';
import { icon, node, type IconName } from './element/nodes.js';
import { STYLES } from './element/styles.js';
import { ENGLISH, type Texts } from './element/texts.js';
import type { InboxError } from './failure.js';
import type { Inbox } from './inbox.js';
import type { Notification, Preference, View } from './notification.js';

export { ENGLISH, type Texts };

/** What the panel may be filtered by. */
const FILTERS = ['inbox', 'unread', 'archived'] as const;
type Filter = (typeof FILTERS)[number];

/** Ages are told again after this, while the panel is open. */
const TICK_MS = 30_000;
/** What comes within this is said at once. */
const SAY_MS = 400;

/** Where pages are rendered there are no elements; importing this must not fail there. */
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement;

/** `campanile-open`: a link was followed. Cancel it to go there yourself. */
export type OpenEvent = CustomEvent<{ notification: Notification; url: string }>;
/** `campanile-error`: something that the user did has failed, and is undone. */
export type ErrorEvent = CustomEvent<InboxError>;

export class CampanileInbox extends Base {
  #inbox: Inbox | undefined;
  #texts: Texts = ENGLISH;
  #ends: (() => void)[] = [];
  #items = new Map<string, Item>();
  #isBuilt = false;
  #filter: Filter = 'inbox';
  #failed: InboxError | null = null;
  #arrived: Notification[] = [];
  #saying: ReturnType<typeof setTimeout> | undefined;
  #ticking: ReturnType<typeof setInterval> | undefined;

  readonly #badge = this.#part('span', 'badge', { 'aria-hidden': 'true', hidden: '' });
  readonly #bell = this.#part('button', 'bell', { type: 'button', 'aria-haspopup': 'dialog', 'aria-expanded': 'false', 'aria-controls': 'panel' });
  readonly #said = this.#part('div', 'status', { role: 'status' }, 'spoken');
  readonly #panel = this.#part('dialog', 'panel', { id: 'panel', 'aria-labelledby': 'title' }, '');
  readonly #title = this.#part('h2', 'title', { id: 'title', tabindex: '-1' }, '');
  readonly #back = this.#iconButton('back', () => this.#showList());
  readonly #choose = this.#iconButton('sliders', () => void this.#showPreferences());
  readonly #dismiss = this.#iconButton('cross', () => this.hide());
  readonly #filters = this.#part('div', 'filters', { role: 'group' });
  readonly #filterButtons = new Map(FILTERS.map((filter) => [filter, this.#textButton(() => this.#setFilter(filter))]));
  readonly #readAll = this.#textButton(() => this.#inbox?.getSnapshot().unread && this.#do((inbox) => inbox.readAll()), 'all');
  readonly #archiveRead = this.#textButton(() => this.#do((inbox) => inbox.archiveRead()), 'all');
  readonly #bar = this.#part('div', 'bar');
  readonly #error = this.#part('p', 'error', { role: 'alert', hidden: '' });
  readonly #retry = this.#textButton(() => void this.#inbox?.load().catch(() => {}));
  readonly #list = this.#part('ul', 'list', { role: 'list' }, '');
  readonly #note = this.#part('p', 'note', { hidden: '' });
  readonly #more = this.#textButton(() => this.#do((inbox) => inbox.more()), 'more');
  readonly #choices = this.#part('div', 'preferences', { hidden: '' }, '');

  /** The inbox to show. */
  get inbox(): Inbox | undefined {
    return this.#inbox;
  }

  set inbox(inbox: Inbox | undefined) {
    if (inbox === this.#inbox) return;
    this.#unfollow();
    this.#inbox = inbox;
    this.#items.clear();
    if (this.isConnected) this.#follow();
  }

  /** Texts in another language; those that are not given stay English. */
  get texts(): Partial<Texts> {
    return this.#texts;
  }

  set texts(texts: Partial<Texts>) {
    this.#texts = { ...ENGLISH, ...texts };
    if (this.#isBuilt) this.#render();
  }

  connectedCallback(): void {
    // Set before this class was known: a plain property, which hides the accessor.
    for (const name of ['inbox', 'texts'] as const) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      Object.assign(this, { [name]: value });
    }
    this.#build();
    this.#follow();
  }

  disconnectedCallback(): void {
    this.hide();
    this.#unfollow();
  }

  get isOpen(): boolean {
    return this.#panel.open;
  }

  /** Opens the panel, and puts focus on its title. */
  show(): void {
    if (this.#panel.open || !this.#inbox) return;
    // On a phone it covers the page, so nothing behind it may be reached.
    if (matchMedia('(max-width: 30rem)').matches) this.#panel.showModal();
    else this.#panel.show();
    this.#bell.setAttribute('aria-expanded', 'true');
    this.#title.focus();
    this.#inbox.load(this.#view()).catch(() => {});
    this.#look();
    this.#ticking = setInterval(() => this.#tick(), TICK_MS);
    this.#render();
  }

  /** Closes the panel; focus that was in it goes back to the bell. */
  hide(): void {
    if (!this.#panel.open) return;
    const hadFocus = this.#panel.contains(this.shadowRoot!.activeElement);
    this.#panel.close();
    this.#hidden();
    if (hadFocus) this.#bell.focus();
  }

  #part<Name extends keyof HTMLElementTagNameMap>(name: Name, part: string, attributes: Record<string, string> = {}, style = part) {
    // Nothing is made where there is no document.
    return globalThis.document && node(name, { part, class: style, ...attributes });
  }

  #iconButton(picture: IconName, act: () => void): HTMLButtonElement {
    const button = this.#part('button', 'button', { type: 'button' }, 'icon');
    button?.append(icon(picture));
    button?.addEventListener('click', act);
    return button;
  }

  #textButton(act: () => unknown, style = ''): HTMLButtonElement {
    const button = this.#part('button', style === 'more' ? 'button more' : 'button', { type: 'button' }, style);
    button?.addEventListener('click', act);
    return button;
  }

  #build(): void {
    if (this.#isBuilt) return;
    this.#isBuilt = true;
    const root = this.attachShadow({ mode: 'open' });
    // Not a style element: a page's policy may forbid those.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
    root.adoptedStyleSheets = [sheet];
    const slot = node('slot', { name: 'bell' }, icon('bell'));
    this.#bell.append(slot, this.#badge);
    this.#filters.append(...this.#filterButtons.values());
    this.#bar.append(this.#filters, this.#readAll, this.#archiveRead);
    const header = this.#part('div', 'header');
    header.append(this.#back, this.#title, this.#choose, this.#dismiss);
    const body = this.#part('div', 'body');
    body.append(this.#list, this.#note, this.#more, this.#choices);
    this.#panel.append(header, this.#bar, this.#error, body);
    root.append(this.#bell, this.#said, this.#panel);
    this.#back.hidden = true;
    this.#bell.addEventListener('click', () => (this.#panel.open ? this.hide() : this.show()));
    this.#panel.addEventListener('keydown', (event) => this.#press(event));
    // Escape would close a modal dialog by itself.
    this.#panel.addEventListener('cancel', (event) => {
      event.preventDefault();
      this.#escape();
    });
    root.addEventListener('focusout', (event) => {
      const { relatedTarget } = event as FocusEvent;
      // Where focus has gone on, there it stays. Null is another window, or nothing yet.
      if (relatedTarget && !root.contains(relatedTarget as Node) && !this.#panel.matches(':modal')) this.hide();
    });
  }

  #hidden(): void {
    this.#bell.setAttribute('aria-expanded', 'false');
    clearInterval(this.#ticking);
    this.#showList(false);
    this.#failed = null;
    this.#render();
  }

  #press(event: KeyboardEvent): void {
    if (event.key !== 'Escape' || event.defaultPrevented) return;
    // An enclosing dialog of the page stays open.
    event.stopPropagation();
    event.preventDefault();
    this.#escape();
  }

  /** Closes what was opened last. */
  #escape(): void {
    for (const item of this.#items.values()) if (item.fold()) return;
    if (this.#choices.hidden) this.hide();
    else this.#showList();
  }

  #follow(): void {
    const inbox = this.#inbox;
    if (!inbox) return;
    const outside = (event: Event) => {
      if (!event.composedPath().includes(this)) this.hide();
    };
    document.addEventListener('pointerdown', outside);
    this.#ends = [
      inbox.subscribe(() => this.#render()),
      inbox.onArrival((notification) => this.#hear(notification)),
      () => document.removeEventListener('pointerdown', outside),
    ];
    this.#render();
  }

  #unfollow(): void {
    for (const end of this.#ends) end();
    this.#ends = [];
    clearTimeout(this.#saying);
  }

  /** Says what has come, all at once if it was much. */
  #hear(notification: Notification): void {
    this.#arrived.push(notification);
    clearTimeout(this.#saying);
    this.#saying = setTimeout(() => {
      this.#said.textContent = this.#texts.arrived(this.#arrived.length, this.#arrived.at(-1)!.title);
      this.#arrived = [];
      if (this.#panel.open && document.visibilityState === 'visible') this.#look();
    }, SAY_MS);
  }

  /** The user has the list before their eyes. */
  #look(): void {
    if (this.#inbox!.getSnapshot().unseen > 0) this.#inbox!.seen().catch(() => {});
  }

  #view(): View {
    return this.#filter === 'inbox' ? {} : { status: this.#filter };
  }

  #setFilter(filter: Filter): void {
    this.#filter = filter;
    this.#failed = null;
    this.#inbox?.load(this.#view()).catch(() => {});
    this.#render();
  }

  /** Does what the user wants, and says if it fails. */
  #do(act: (inbox: Inbox) => Promise<void>): void {
    this.#failed = null;
    act(this.#inbox!).catch((error: InboxError) => {
      this.#failed = error;
      this.dispatchEvent(new CustomEvent('campanile-error', { detail: error, bubbles: true, composed: true }));
      this.#render();
    });
    this.#render();
  }

  readonly #actions: ItemActions = {
    tool: (tool: Tool, item: Item) => {
      if (tool !== 'snooze') return this.#do((inbox) => inbox[tool](item.row.id));
      if (!item.isFolded()) return void item.fold();
      for (const other of this.#items.values()) other.fold();
      item.unfold();
    },
    snooze: (until, item) => {
      item.fold();
      this.#do((inbox) => inbox.snooze(item.row.id, until));
    },
    follow: (url, notification) => {
      if (notification.read_at === null) this.#do((inbox) => inbox.read(notification.id));
      const event: OpenEvent = new CustomEvent('campanile-open', {
        detail: { notification, url },
        bubbles: true,
        composed: true,
        cancelable: true,
      });
      const isTaken = !this.dispatchEvent(event);
      if (isTaken) this.hide();
      return isTaken;
    },
  };

  #language(): string | undefined {
    return this.closest('[lang]')?.getAttribute('lang') || undefined;
  }

  #age(): (at: string) => string {
    const format = new Intl.RelativeTimeFormat(this.#language(), { numeric: 'auto', style: 'long' });
    const now = Date.now();
    return (at) => {
      const secs = Math.min(0, (Date.parse(at) - now) / 1000);
      for (const [unit, length] of [['day', 86_400], ['hour', 3_600], ['minute', 60]] as const) {
        if (-secs >= length) return format.format(Math.trunc(secs / length), unit);
      }
      return format.format(0, 'second');
    };
  }

  #tick(): void {
    const age = this.#age();
    for (const item of this.#items.values()) item.tick(age);
  }

  #render(): void {
    const inbox = this.#inbox;
    if (!inbox) return;
    const texts = this.#texts;
    const { unread, notifications, phase, more, error } = inbox.getSnapshot();
    label(this.#bell, texts.bell(unread), false);
    this.#badge.textContent = texts.badge(unread);
    this.#badge.hidden = unread === 0;
    if (!this.#panel.open) return;
    const isList = this.#choices.hidden;
    setText(this.#title, isList ? texts.title : texts.preferences);
    label(this.#back, texts.back);
    label(this.#choose, texts.preferences);
    label(this.#dismiss, texts.close);
    label(this.#filters, texts.filters, false);
    for (const [filter, button] of this.#filterButtons) {
      setText(button, texts[filter]);
      button.setAttribute('aria-pressed', String(filter === this.#filter));
    }
    setText(this.#readAll, texts.readAll);
    setText(this.#archiveRead, texts.archiveRead);
    // A button that has focus is not taken away from under it.
    this.#readAll.setAttribute('aria-disabled', String(unread === 0));
    this.#archiveRead.hidden = this.#filter !== 'inbox';
    this.#readAll.hidden = this.#filter === 'archived';
    const failure = this.#failed ?? error;
    this.#error.hidden = !failure;
    if (failure) {
      setText(this.#retry, texts.retry);
      this.#error.replaceChildren(texts.failed(failure), ...(phase === 'failed' ? [' ', this.#retry] : []));
    }
    this.#renderList(notifications);
    const isEmpty = notifications.length === 0;
    this.#note.hidden = !isList || !isEmpty || phase === 'failed';
    const nothing = { inbox: texts.nothing, unread: texts.nothingUnread, archived: texts.nothingArchived }[this.#filter];
    setText(this.#note, phase === 'ready' ? nothing : texts.loading);
    this.#list.setAttribute('aria-busy', String(phase === 'loading'));
    this.#list.hidden = !isList || isEmpty;
    setText(this.#more, texts.more);
    this.#more.hidden = !isList || !more;
  }

  #renderList(notifications: readonly Notification[]): void {
    const { activeElement } = this.shadowRoot!;
    const had = [...this.#items.values()].find(({ element }) => element.contains(activeElement));
    const place = had ? Math.max(0, had.placeOf(activeElement)) : 0;
    const index = had ? [...this.#list.children].indexOf(had.element) : 0;
    const kept = new Set(notifications.map(({ id }) => id));
    for (const [id, item] of this.#items) {
      if (kept.has(id)) continue;
      item.element.remove();
      this.#items.delete(id);
    }
    const age = this.#age();
    let next = this.#list.firstElementChild;
    for (const row of notifications) {
      let item = this.#items.get(row.id);
      if (!item) {
        item = new Item(this.#actions);
        this.#items.set(row.id, item);
      }
      item.update(row, this.#texts, age);
      if (item.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(item.element, next);
    }
    if (!had || had.element.isConnected) return;
    // The one that had focus is gone: its neighbour takes its place.
    const neighbour = this.#list.children[Math.min(index, notifications.length - 1)];
    const heir = [...this.#items.values()].find(({ element }) => element === neighbour);
    if (heir) heir.focusTool(place);
    else this.#title.focus();
  }

  async #showPreferences(): Promise<void> {
    this.#choices.hidden = false;
    this.#bar.hidden = this.#choose.hidden = true;
    this.#back.hidden = false;
    this.#choices.replaceChildren(node('p', { class: 'note' }, this.#texts.loading));
    this.#render();
    this.#title.focus();
    try {
      this.#fillPreferences(await this.#inbox!.preferences());
    } catch (error) {
      this.#failed = error as InboxError;
      this.#showList();
    }
  }

  #showList(focuses = true): void {
    if (this.#choices.hidden) return;
    this.#choices.hidden = true;
    this.#bar.hidden = this.#choose.hidden = false;
    this.#back.hidden = true;
    this.#render();
    if (focuses) this.#choose.focus();
  }

  #fillPreferences(preferences: Preference[]): void {
    const texts = this.#texts;
    const groups = preferences.map(({ category, label: legend, channels, required }) => {
      const group = this.#part('fieldset', 'category', {}, '');
      group.append(node('legend', {}, legend));
      for (const [way, on] of Object.entries(channels)) {
        const box = node('input', { type: 'checkbox' });
        box.checked = on;
        box.disabled = required.includes(way);
        box.addEventListener('change', () => {
          this.#do(async (inbox) => {
            await inbox.setPreference(category, { [way]: box.checked }).catch((error) => {
              box.checked = !box.checked;
              throw error;
            });
          });
        });
        group.append(node('label', {}, box, texts.ways[way] ?? way, ...(box.disabled ? [node('small', {}, texts.required)] : [])));
      }
      return group;
    });
    this.#choices.replaceChildren(...(groups.length ? groups : [node('p', { class: 'note' }, texts.noPreferences)]));
  }
}

/** Sets it only if it is another one, so that nothing is said twice. */
function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

function label(element: HTMLElement, text: string, shows = true): void {
  if (element.ariaLabel === text) return;
  element.ariaLabel = text;
  if (shows) element.title = text;
}

declare global {
  interface HTMLElementTagNameMap {
    'campanile-inbox': CampanileInbox;
  }
}

if (globalThis.customElements && !customElements.get('campanile-inbox')) customElements.define('campanile-inbox', CampanileInbox);
