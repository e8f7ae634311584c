/**
 * A team's board: cards that move for everybody, and what the server says to those whose board it is not.
 */

import { listen, type Live, type Refusal } from './echo';
import type { Events, Lane } from './events';
import { showWhoIsHere } from './presence';
import { get, post } from './requests';
import { toast } from './toasts';

type Card = Omit<Events['card.placed'], 'by'>;

export function showBoard(echo: Live): void {
  const team = document.querySelector<HTMLElement>('[data-team]')?.dataset.team;
  if (!team) return;
  const path = `/teams/${team}/cards`;
  listen(echo.private(`team.${team}`), 'card.placed', (card) => {
    place(path, card);
    toast(card.by, `${card.title} → ${laneTitle(card.lane)}`);
  })
    .subscribed(async () => {
      const cards = await get<Card[]>(path).catch(() => []);
      cards.forEach((card) => place(path, card));
    })
    .error(refuse);
  showWhoIsHere(echo, `team.${team}`);

  document.addEventListener('submit', async (event) => {
    const form = event.target as HTMLFormElement;
    if (!form.matches('.board form')) return;
    event.preventDefault();
    const submitter = event.submitter as HTMLButtonElement | null;
    const title = form.elements.namedItem('title') as HTMLInputElement | null;
    const fields: Record<string, string> = title ? { title: title.value } : { lane: submitter?.value ?? '' };
    try {
      place(path, await post<Card>(form.getAttribute('action')!, fields, echo));
      if (title) title.value = '';
    } catch (error) {
      toast('Not saved', error instanceof Error ? error.message : 'The shop cannot be reached.');
    }
  });
}

function refuse(refusal: Refusal): void {
  const element = document.getElementById('board-refusal')!;
  element.textContent =
    refusal.status === 403
      ? 'Only its members can follow this board. The server answered 403.'
      : `This board is not live: the server answered ${refusal.status ?? refusal.error ?? 'nothing'}.`;
  element.hidden = false;
}

function laneTitle(lane: Lane): string {
  return document.querySelector(`[data-lane="${lane}"] h2`)?.textContent ?? lane;
}

/** Puts a card where it belongs; a new one is made from the page's template. */
function place(path: string, card: Card): void {
  const list = document.querySelector(`[data-lane="${card.lane}"] ul`);
  if (!list) return;
  let row = document.querySelector<HTMLElement>(`[data-card="${card.card_id}"]`);
  if (!row) {
    const template = document.querySelector<HTMLTemplateElement>('#card-template')!;
    row = template.content.firstElementChild!.cloneNode(true) as HTMLElement;
    row.dataset.card = String(card.card_id);
    row.querySelector('.title')!.textContent = card.title;
    row.querySelector('form')!.setAttribute('action', `${path}/${card.card_id}`);
  }
  for (const button of row.querySelectorAll<HTMLButtonElement>('button')) button.disabled = button.value === card.lane;
  if (row.parentElement === list) return;
  const hadFocus = row.contains(document.activeElement);
  list.append(row);
  if (hadFocus) row.querySelector<HTMLButtonElement>('button:enabled')?.focus();
}
