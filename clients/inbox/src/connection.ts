/**
 * The application's own connection, as far as we use it.
 *
 * Owns the few members of pusher-js and Echo that are touched, so that this package depends on neither. Never connects. The
 * invariant: what is bound here is bound on what exists already; there is no second socket. Read on in `feed.ts`.
 */

/** A channel of pusher-js. */
export interface PusherChannel {
  subscribed: boolean;
  bind(event: string, callback: (payload: any) => void): unknown;
  unbind(event: string, callback: (payload: never) => void): unknown;
}

/** What an application's authorization endpoint answers. */
export interface Authorization {
  auth: string;
  channel_data?: string;
}

/** A pusher-js instance. */
export interface PusherLike {
  key: string;
  connection: {
    socket_id: string | undefined;
    state: string;
    bind(event: string, callback: (payload: any) => void): unknown;
    unbind(event: string, callback: (payload: never) => void): unknown;
  };
  config: {
    useTLS: boolean;
    wsHost: string;
    wsPort: number;
    wssPort: number;
    wsPath: string;
    channelAuthorizer(
      request: { channelName: string; socketId: string },
      callback: (error: any, answer: any) => void,
    ): void;
  };
  channel(name: string): any;
  subscribe(name: string): PusherChannel;
  unsubscribe(name: string): void;
}

/** An Echo instance whose connector is Pusher's. */
export interface EchoLike {
  connector: any;
}

/** Where the HTTP side of a Pusher connection is, behind the same prefix. */
export function originOf({ config: { useTLS, wsHost, wsPort, wssPort, wsPath } }: PusherLike): string {
  return `http${useTLS ? `s://${wsHost}:${wssPort}` : `://${wsHost}:${wsPort}`}${wsPath}`;
}

/** Asks the application, as pusher-js does when it subscribes. */
export function authorizeBy(pusher: PusherLike, channelName: string, socketId: string): Promise<Authorization> {
  return new Promise((resolve, reject) => {
    pusher.config.channelAuthorizer({ channelName, socketId }, (error, answer) => {
      if (error || !answer) reject(error ?? new Error('no answer'));
      else resolve(answer);
    });
  });
}
