/**
 * A document: its comments as they are written, who is typing, and who is here.
 */

import { listen, type Live } from './echo';
import type { Events } from './events';
import { showWhoIsHere } from './presence';
import { get, post } from './requests';
import { showTime } from './times';
import { toast } from './toasts';

/** Somebody is typing until they have not for so long. */
const TYPING_MS = 3_000;
/** A whisper for every so many milliseconds of typing, not for every key. */
const WHISPER_EVERY_MS = 1_000;

/** The event has all that the page shows of a comment, and the page asks for no more. */
type Comment = Events['comment.added'];

export function showDocument(echo: Live): void {
  const id = document.querySelector<HTMLElement>('[data-document]')?.dataset.document;
  const form = document.querySelector<HTMLFormElement>('#comment-form');
  if (!id || !form) return;
  const path = `/documents/${id}/comments`;
  const typing = new Typing();
  const channel = listen(echo.private(`document.${id}`), 'comment.added', (comment) => {
    add(comment);
    typing.ended(comment.author);
  })
    .listenForWhisper('typing', ({ name }: { name: string }) => typing.began(name))
    .subscribed(async () => {
      // What was written between the page and the subscription, or while the connection was lost.
      const missed = await get<Comment[]>(`${path}?after=${latest()}`).catch(() => []);
      missed.forEach(add);
    });
  showWhoIsHere(echo, `document.${id}`);

  const field = form.elements.namedItem('body') as HTMLTextAreaElement;
  const me = document.querySelector<HTMLElement>('.who .avatar')?.title ?? '';
  let whispered = -Infinity;
  field.addEventListener('input', (event) => {
    if (event.timeStamp - whispered < WHISPER_EVERY_MS) return;
    whispered = event.timeStamp;
    channel.whisper('typing', { name: me });
  });
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const body = field.value;
    field.value = '';
    try {
      add(await post<Comment>(path, { body }, echo));
    } catch (error) {
      field.value = body;
      toast('Not sent', error instanceof Error ? error.message : 'The shop cannot be reached.');
    }
  });
}

/** The greatest number of a comment on the page. */
function latest(): number {
  const rows = [...document.querySelectorAll<HTMLElement>('#comments [data-comment]')];
  return Math.max(0, ...rows.map((row) => Number(row.dataset.comment)));
}

/** Shows a comment, unless it is there: an event may come twice. */
function add(comment: Comment): void {
  const list = document.getElementById('comments')!;
  if (list.querySelector(`[data-comment="${comment.comment_id}"]`)) return;
  const template = document.querySelector<HTMLTemplateElement>('#comment-template')!;
  const row = template.content.firstElementChild!.cloneNode(true) as HTMLElement;
  row.dataset.comment = String(comment.comment_id);
  row.querySelector('.author')!.textContent = comment.author;
  row.querySelector('.body')!.textContent = comment.body;
  showTime(row.querySelector('time')!, comment.written_at);
  list.append(row);
}

class Typing {
  #names = new Map<string, ReturnType<typeof setTimeout>>();

  began(name: string): void {
    clearTimeout(this.#names.get(name));
    this.#names.set(name, setTimeout(() => this.ended(name), TYPING_MS));
    this.#show();
  }

  ended(name: string): void {
    clearTimeout(this.#names.get(name));
    this.#names.delete(name);
    this.#show();
  }

  #show(): void {
    const names = [...this.#names.keys()];
    const text = names.length === 0 ? '' : `${names.join(' and ')} ${names.length === 1 ? 'is' : 'are'} typing…`;
    document.getElementById('typing')!.textContent = text;
  }
}
