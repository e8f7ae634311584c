/**
 * My orders: told of by the server, or asked for every five seconds, to compare.
 *
 * Every page listens for what concerns its user and says so; the orders page also shows shipped orders in its list.
 */

import { listen, type Live, setting } from './echo';
import { showMembership } from './membership';
import { get } from './requests';
import { toast } from './toasts';

const POLL_EVERY_MS = 5_000;

interface Order {
  id: number;
  item: string;
  status: 'packing' | 'shipped';
  tracking_number: string | null;
}

export function followOrders(echo: Live): void {
  let isPolling = false;
  const own = echo.private(`user.${setting('user-id')}`);
  listen(own, 'order.shipped', (event) => {
    // Whoever polls knows it from the next answer. It may have been asked for already, too, after a lost connection.
    if (!isPolling && ship(event.order_id, event.tracking_number)) announce(event.item, event.tracking_number);
  });
  listen(own, 'membership.changed', showMembership);
  // What has left between the page and the subscription, or while the connection was lost.
  own.subscribed(() => {
    if (!isPolling) void catchUp();
  });
  const way = document.getElementById('way');
  if (!way) return;
  const polling = new Polling();
  // The channel is not left meanwhile: the bell listens there, too.
  way.addEventListener('change', (event) => {
    isPolling = (event.target as HTMLInputElement).value === 'polling';
    if (isPolling) {
      polling.start();
    } else {
      polling.stop();
      void catchUp();
    }
  });
}

function rowOf(id: number): HTMLElement | null {
  return document.querySelector<HTMLElement>(`#orders [data-order="${id}"]`);
}

/** Shows that an order has left, where the page lists it; says whether the page has not known that. */
function ship(id: number, trackingNumber: string): boolean {
  const row = rowOf(id);
  if (row?.dataset.status === 'shipped') return false;
  if (row) {
    row.dataset.status = 'shipped';
    row.querySelector('.badge')!.textContent = 'Shipped';
    row.querySelector('.tracking')!.textContent = trackingNumber;
  }
  return true;
}

function announce(item: string, trackingNumber: string): void {
  toast('On its way', `${item}, ${trackingNumber}`);
}

/** Asks once for all orders; says whether one that the page lists has left. */
async function catchUp(): Promise<boolean> {
  if (!document.getElementById('orders')) return false;
  const orders = await get<Order[]>('/orders.json').catch(() => []); // the next event or poll says it again
  let isNews = false;
  for (const { id, item, status, tracking_number: number } of orders) {
    if (status !== 'shipped' || !rowOf(id) || !ship(id, number ?? '')) continue;
    announce(item, number ?? '');
    isNews = true;
  }
  return isNews;
}

/** What the page did before it was live. */
class Polling {
  #timer: ReturnType<typeof setInterval> | undefined;
  #asked = 0;
  #news = 0;

  start(): void {
    this.#asked = this.#news = 0;
    this.#timer = setInterval(() => void this.#ask(), POLL_EVERY_MS);
    void this.#ask();
  }

  stop(): void {
    clearInterval(this.#timer);
    document.getElementById('polling-note')!.hidden = true;
  }

  async #ask(): Promise<void> {
    this.#asked += 1;
    if (await catchUp()) this.#news += 1;
    document.getElementById('poll-count')!.textContent = String(this.#asked);
    document.getElementById('poll-news')!.textContent = String(this.#news);
    document.getElementById('polling-note')!.hidden = false;
  }
}
