/**
 * One notification in the list.
 *
 * Owns its nodes, which live as long as it is shown, so that focus stays where it is. Never decides what a click does. The
 * invariant: what comes from the server becomes text or an address that was looked at, never HTML. Read on in `../element.ts`.
 */

import { safeUrl, type Notification } from '../notification.js';
import { icon, node, type IconName } from './nodes.js';
import type { Texts } from './texts.js';

export type Tool = 'read' | 'unread' | 'archive' | 'unarchive' | 'snooze';

export interface ItemActions {
  tool(tool: Tool, item: Item): void;
  snooze(until: Date, item: Item): void;
  /** A link was followed; true if the page does it itself. */
  follow(url: string, row: Notification): boolean;
}

const HOUR_MS = 3_600_000;

function tomorrowMorning(): Date {
  const day = new Date();
  day.setDate(day.getDate() + 1);
  day.setHours(9, 0, 0, 0);
  return day;
}

export class Item {
  readonly element = node('li', { part: 'item' });
  #row: Notification | undefined;
  #texts: Texts | undefined;
  readonly #actions: ItemActions;
  readonly #time = node('time');
  readonly #choices = node('div', { class: 'choices', part: 'choices', role: 'group', hidden: '' });
  readonly #tools = new Map<string, HTMLButtonElement>();

  constructor(actions: ItemActions) {
    this.#actions = actions;
  }

  get row(): Notification {
    return this.#row!;
  }

  /** The button at this place among the tools, or the last there is. */
  focusTool(place: number): void {
    const tools = [...this.#tools.values()];
    tools[Math.min(place, tools.length - 1)]?.focus();
  }

  placeOf(element: Element | null): number {
    return [...this.#tools.values()].indexOf(element as HTMLButtonElement);
  }

  /** Closes the snooze choices; whether they were open. */
  fold(): boolean {
    const wasOpen = !this.#choices.hidden;
    this.#choices.hidden = true;
    const opener = this.#tools.get('snooze');
    opener?.setAttribute('aria-expanded', 'false');
    if (wasOpen) opener?.focus();
    return wasOpen;
  }

  unfold(): void {
    this.#choices.hidden = false;
    this.#tools.get('snooze')?.setAttribute('aria-expanded', 'true');
    this.#choices.querySelector('button')?.focus();
  }

  isFolded(): boolean {
    return this.#choices.hidden;
  }

  tick(age: (at: string) => string): void {
    this.#time.textContent = age(this.row.created_at);
  }

  /** Shows it as it is now. */
  update(row: Notification, texts: Texts, age: (at: string) => string): void {
    if (row === this.#row && texts === this.#texts) return;
    const before = this.#row;
    const isSame = before?.title === row.title && before.body === row.body && before.action_url === row.action_url &&
      before.group_count === row.group_count && before.read_at === row.read_at && before.archived_at === row.archived_at &&
      before.actions.length === row.actions.length && texts === this.#texts;
    this.#row = row;
    this.#texts = texts;
    if (isSame) return;
    const root = this.element.getRootNode() as ShadowRoot;
    const place = this.placeOf(root.activeElement ?? null);
    const isUnread = row.read_at === null;
    this.element.classList.toggle('unread', isUnread);
    this.element.setAttribute('part', isUnread ? 'item item-unread' : 'item');
    this.#time.setAttribute('datetime', row.created_at);
    this.#time.title = new Date(row.created_at).toLocaleString();
    this.tick(age);
    const name = this.#link(row.title, row.action_url, 'name', 'item-title');
    this.element.replaceChildren(
      ...(isUnread ? [node('span', { class: 'spoken' }, `${texts.isUnread} `)] : []),
      name,
      ...(row.body ? [node('p', { class: 'text', part: 'item-body' }, row.body)] : []),
      ...this.#links(row),
      this.#foot(row, texts),
      this.#choices,
    );
    this.#fill(texts);
    if (place >= 0) this.focusTool(place);
  }

  #link(text: string, address: string | null, style: string, part: string): HTMLElement {
    const url = safeUrl(address);
    if (url === null) return node('span', { class: style, part }, text);
    const link = node('a', { class: style, part, href: url, rel: 'noopener' }, text);
    link.addEventListener('click', (event) => {
      if (this.#actions.follow(url, this.row)) event.preventDefault();
    });
    return link;
  }

  #links({ actions }: Notification): HTMLElement[] {
    const links = actions.filter(({ url }) => safeUrl(url) !== null);
    if (!links.length) return [];
    return [node('div', { class: 'links', part: 'item-actions' }, ...links.map(({ label, url }) => this.#link(label, url, '', 'item-action')))];
  }

  #foot(row: Notification, texts: Texts): HTMLElement {
    const when = node('span', { class: 'when', part: 'item-time' }, this.#time);
    if (row.group_count > 1) when.append(` · ${texts.gathered(row.group_count)}`);
    this.#tools.clear();
    const tool = (name: Tool, picture: IconName, text: string) => {
      const button = node('button', { class: 'icon', part: 'button', type: 'button', title: text, 'aria-label': texts.of(text, row.title) }, icon(picture));
      button.addEventListener('click', () => this.#actions.tool(name, this));
      this.#tools.set(name, button);
      return button;
    };
    const tools = [
      row.read_at === null ? tool('read', 'check', texts.markRead) : tool('unread', 'dot', texts.markUnread),
    ];
    if (row.archived_at === null) {
      const snooze = tool('snooze', 'clock', texts.snooze);
      snooze.setAttribute('aria-expanded', String(!this.#choices.hidden));
      tools.push(snooze, tool('archive', 'box', texts.archive));
    } else {
      tools.push(tool('unarchive', 'unbox', texts.unarchive));
    }
    return node('div', { class: 'foot' }, when, ...tools);
  }

  #fill(texts: Texts): void {
    this.#choices.setAttribute('aria-label', texts.snooze);
    const choices: [string, () => Date][] = [
      [texts.snoozeHour, () => new Date(Date.now() + HOUR_MS)],
      [texts.snoozeTomorrow, tomorrowMorning],
      [texts.snoozeWeek, () => new Date(Date.now() + 7 * 24 * HOUR_MS)],
    ];
    this.#choices.replaceChildren(
      ...choices.map(([text, until]) => {
        const button = node('button', { type: 'button', part: 'button' }, text);
        button.addEventListener('click', () => this.#actions.snooze(until(), this));
        return button;
      }),
    );
  }
}
