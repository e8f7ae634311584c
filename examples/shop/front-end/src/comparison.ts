/**
 * How a comparison gets on. Its plots come with the page, once it has ended.
 */

import { listen, type Live } from './echo';

export function showComparison(echo: Live): void {
  const card = document.getElementById('comparison');
  if (card?.dataset.running !== 'true') return;
  const text = document.getElementById('progress-text')!;
  const bar = document.getElementById('progress-bar') as HTMLProgressElement;
  listen(echo.private('operations'), 'comparison.progressed', (progress) => {
    if (progress.ended) {
      location.reload();
      return;
    }
    text.textContent = `${progress.doing}, ${progress.second} of ${progress.of} s`;
    bar.value = (100 * progress.second) / progress.of;
  });
}
