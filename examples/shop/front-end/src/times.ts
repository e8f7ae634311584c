/**
 * Times as people read them: the server writes ISO 8601, the browser knows the language and the zone.
 */

const today = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const earlier = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

export function showTime(element: HTMLTimeElement, iso: string): void {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return;
  const isToday = time.toDateString() === new Date().toDateString();
  element.dateTime = iso;
  element.textContent = (isToday ? today : earlier).format(time);
  element.title = time.toLocaleString();
}

export function showTimes(root: ParentNode): void {
  for (const element of root.querySelectorAll<HTMLTimeElement>('time[datetime]')) showTime(element, element.dateTime);
}
