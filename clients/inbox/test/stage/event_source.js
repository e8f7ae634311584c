/**
 * `EventSource` for Node, which has none: as much of it as the inbox uses.
 *
 * Owns the reading of an event stream. The invariant: like the browser's, it says `error` when the stream ends.
 */

export class TestEventSource extends EventTarget {
  static opened = 0;
  onerror = null;
  #end = new AbortController();

  constructor(url) {
    super();
    TestEventSource.opened++;
    void this.#read(url);
  }

  async #read(url) {
    try {
      const response = await fetch(url, { signal: this.#end.signal });
      if (!response.ok) throw new Error(`${response.status}`);
      let rest = '';
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        const events = (rest + chunk).split('\n\n');
        rest = events.pop();
        for (const event of events) {
          const field = (name) => event.match(new RegExp(`^${name}: (.*)$`, 'm'))?.[1];
          this.dispatchEvent(new MessageEvent(field('event'), { data: field('data') }));
        }
      }
    } catch {
      // Said below, as an end is.
    }
    if (!this.#end.signal.aborted) this.onerror?.();
  }

  close() {
    this.#end.abort();
  }
}
