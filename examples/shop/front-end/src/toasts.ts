/**
 * Short messages that come and go. The region is aria-live, so that they are also read out.
 */

const SHOWN_MS = 8_000;
const AT_ONCE_MAX = 4;

export function toast(title: string, text: string): void {
  const region = document.getElementById('toasts');
  if (!region) return;
  const message = document.createElement('div');
  message.className = 'toast';
  const strong = document.createElement('strong');
  strong.textContent = title;
  const span = document.createElement('span');
  span.textContent = text;
  const close = document.createElement('button');
  close.type = 'button';
  close.setAttribute('aria-label', 'Dismiss');
  close.textContent = '×';
  close.addEventListener('click', () => message.remove());
  message.append(strong, span, close);
  region.append(message);
  while (region.children.length > AT_ONCE_MAX) region.firstElementChild?.remove();
  setTimeout(() => message.remove(), SHOWN_MS);
}
