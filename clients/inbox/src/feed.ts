/**
 * How pushes come in: by the application's own socket or, where WebSockets are blocked, by an event stream.
 *
 * Owns the bindings on the channel, and the stream with its pauses. Never reads a push. The invariant: everything bound or
 * opened here is undone by `close`, and a channel that was there before stays subscribed. Read on in `inbox.ts`.
 */

import { pause } from './limits.js';
import type { PusherChannel, PusherLike } from './connection.js';
import type { Tabs } from './tabs.js';

export const ARRIVED = 'Illuminate\\Notifications\\Events\\BroadcastNotificationCreated';
export const UPDATED = 'inbox.updated';
export const STATE = 'inbox.state';
const PUSHES = [ARRIVED, UPDATED, STATE];

export interface Listener {
  /** A push, and whether this tab alone has heard it. */
  push(name: string, payload: unknown, alone: boolean): void;
  /** Pushes come, or have stopped coming. */
  live(live: boolean): void;
  /** There is a new socket: sessions of the one before are over. */
  socket(id: string): void;
}

/** Pushes of an existing Pusher connection. */
export function follow(pusher: PusherLike, name: string, listener: Listener, blocked: (blocked: boolean) => void) {
  const existing = pusher.channel(name) as PusherChannel | null | undefined;
  const channel = existing ?? pusher.subscribe(name);
  const bindings: [PusherChannel | PusherLike['connection'], string, (payload: never) => void][] = [];
  const on = <T>(target: PusherChannel | PusherLike['connection'], event: string, callback: (payload: T) => void) => {
    target.bind(event, callback);
    bindings.push([target, event, callback]);
  };
  for (const event of PUSHES) on(channel, event, (payload) => listener.push(event, payload, false));
  on(channel, 'pusher:subscription_succeeded', () => listener.live(true));
  on(channel, 'pusher:subscription_error', () => listener.live(false));
  on<{ current: string }>(pusher.connection, 'state_change', ({ current }) => {
    if (current === 'connected') listener.socket(pusher.connection.socket_id!);
    else listener.live(false);
    blocked(isBlocked(current));
  });
  if (pusher.connection.socket_id) listener.socket(pusher.connection.socket_id);
  if (channel.subscribed) listener.live(true);
  blocked(isBlocked(pusher.connection.state));
  return () => {
    for (const [target, event, callback] of bindings) target.unbind(event, callback);
    if (!existing) pusher.unsubscribe(name);
  };
}

/** pusher-js has tried every transport it has, or has waited for ten seconds. */
const isBlocked = (state: string) => state === 'unavailable' || state === 'failed';

/** Pushes of the event stream, which one tab has for all. */
export function stream(tabs: Tabs<never>, url: string, listener: Listener) {
  const end = new AbortController();
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  const open = () => {
    source = new EventSource(url);
    source.addEventListener('connected', (event: MessageEvent<string>) => {
      failures = 0;
      listener.socket(JSON.parse(event.data).socket_id);
    });
    for (const name of PUSHES) {
      source.addEventListener(name, (event: MessageEvent<string>) => {
        if (name === STATE) listener.live(true);
        listener.push(name, JSON.parse(event.data), true);
      });
    }
    // The browser would try again by itself, every browser after the same time.
    source.onerror = () => {
      source!.close();
      listener.live(false);
      timer = setTimeout(open, pause(failures++));
    };
  };
  tabs.keep('stream', end.signal, open);
  return () => {
    end.abort();
    clearTimeout(timer);
    source?.close();
  };
}
