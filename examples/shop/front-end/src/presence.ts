/**
 * Who is here, as a row of initials. A user with two tabs is one member, which the server sees to.
 */

import type { Live } from './echo';

const HUES = 6;

interface Person {
  name: string;
}

/** Echo hands on `user_info` alone; the id is what pusher-js keeps the members by. */
interface Members {
  each(visit: (member: { id: string; info: Person }) => void): void;
}

export function showWhoIsHere(echo: Live, channel: string): void {
  const list = document.getElementById('here');
  if (!list) return;
  const joined = echo.join(channel);
  const show = () => {
    const members = (joined as unknown as { subscription: { members: Members } }).subscription.members;
    const avatars: HTMLElement[] = [];
    members.each(({ id, info }) => avatars.push(avatar(id, info.name)));
    list.replaceChildren(...avatars);
  };
  joined.here(show).joining(show).leaving(show);
}

function avatar(id: string, name: string): HTMLElement {
  const item = document.createElement('li');
  item.className = 'avatar';
  item.dataset.hue = String(Number(id) % HUES);
  item.dataset.member = id;
  item.title = name;
  const initials = name.split(/\s+/).slice(0, 2);
  const short = document.createElement('span');
  short.ariaHidden = 'true';
  short.textContent = initials.map((word) => word.charAt(0)).join('');
  const full = document.createElement('span');
  full.className = 'unseen';
  full.textContent = name;
  item.append(short, full);
  return item;
}
