/**
 * The packing bench: an order is shipped without leaving the page.
 */

import { post } from './requests';
import { toast } from './toasts';

interface Counts {
  packing: number;
  shipped: number;
}

export function showOperations(): void {
  document.addEventListener('submit', async (event) => {
    const form = event.target as HTMLFormElement;
    if (!form.matches('form.ship')) return;
    event.preventDefault();
    const button = form.querySelector('button')!;
    button.disabled = true;
    try {
      const { packing, shipped } = await post<Counts>(form.getAttribute('action')!, {});
      document.getElementById('to-ship')!.textContent = String(packing);
      document.getElementById('shipped')!.textContent = String(shipped);
      const row = form.closest('li')!;
      const next = (row.nextElementSibling ?? row.previousElementSibling)?.querySelector('button');
      row.remove();
      next?.focus();
    } catch (error) {
      button.disabled = false;
      toast('Not shipped', error instanceof Error ? error.message : 'The shop cannot be reached.');
    }
  });
}
