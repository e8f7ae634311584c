/**
 * My orders: told of by the server, or asked for every five seconds, to compare.
 *
 * Every page listens for shipped orders and says so; the orders page also shows them in its list.
 */

import { type Live, setting } from './echo';
import { get } from './requests';
import { toast } from './toasts';

const POLL_EVERY_MS = 5_000;

interface Order {
  id: number;
  item: string;
  status: 'packing' | 'shipped';
  tracking_number: string | null;
}

interface OrderShipped {
  order_id: number;
  item: string;
  tracking_number: string;
}

export function followOrders(echo: Live): void {
  const channel = `user.${setting('user-id')}`;
  const listen = () =>
    echo
      .private(channel)
      .listen('.order.shipped', (event: OrderShipped) => {
        ship(event.order_id, event.tracking_number);
        toast('On its way', `${event.item}, ${event.tracking_number}`);
      })
      // Also after a lost connection: what was missed is asked for once.
      .subscribed(() => void catchUp());
  listen();
  const way = document.getElementById('way');
  if (!way) return;
  const polling = new Polling();
  way.addEventListener('change', (event) => {
    const isPolling = (event.target as HTMLInputElement).value === 'polling';
    if (isPolling) {
      echo.leave(channel);
      polling.start();
    } else {
      polling.stop();
      listen();
    }
  });
}

/** Shows that an order has left; says whether that is new. */
function ship(id: number, trackingNumber: string): boolean {
  const row = document.querySelector<HTMLElement>(`#orders [data-order="${id}"]`);
  if (!row || row.dataset.status === 'shipped') return false;
  row.dataset.status = 'shipped';
  row.querySelector('.badge')!.textContent = 'Shipped';
  row.querySelector('.tracking')!.textContent = trackingNumber;
  return true;
}

async function catchUp(): Promise<Order[]> {
  if (!document.getElementById('orders')) return [];
  const orders = await get<Order[]>('/orders.json').catch(() => []); // the next event or poll says it again
  return orders.filter((order) => order.status === 'shipped' && ship(order.id, order.tracking_number ?? ''));
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
    const shipped = await catchUp();
    if (shipped.length > 0) this.#news += 1;
    for (const order of shipped) toast('On its way', `${order.item}, ${order.tracking_number}`);
    document.getElementById('poll-count')!.textContent = String(this.#asked);
    document.getElementById('poll-news')!.textContent = String(this.#news);
    document.getElementById('polling-note')!.hidden = false;
  }
}
