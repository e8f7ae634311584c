/**
 * What a page does when its user is taken into a team, or out of it. The subscription to a board that is no longer theirs
 * is over with its connection: the page begins anew, and the next one is refused.
 */

import type { Events } from './events';
import { toast } from './toasts';

export function showMembership(change: Events['membership.changed']): void {
  const shown = document.querySelector<HTMLElement>('[data-team]')?.dataset.team;
  if (shown === String(change.team_id)) location.reload();
  else toast('Teams', change.is_member ? 'You are in one more team.' : 'You have left a team.');
}
