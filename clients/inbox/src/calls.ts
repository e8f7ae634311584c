/**
 * Requests to the server's `/inbox`.
 *
 * Owns the session (one for all tabs) and what an answer's status means. Never changes the store. The invariant: a token
 * that was refused is not used again, and a request is repeated at most once. Read on in `inbox.ts`.
 */

import { InboxError, within } from './failure.js';
import { REQUEST_MS, SESSION_MARGIN_MS, SOCKET_MS } from './limits.js';
import { deferred, type Tabs } from './tabs.js';

export interface Session {
  token: string;
  /** Until when it is used, by the browser's clock in milliseconds. */
  endsAt: number;
}

/** What `POST /inbox/session` takes; or a session that the application has opened itself. */
export type Proof =
  | { auth: string; channel_data?: string }
  | { auth: string; user_data: string }
  | { jwt: string }
  | { token: string; expires_in?: number };

export interface Credentials {
  url: string;
  channel: string;
  prove(socketId: string | undefined): Promise<Proof>;
  /** The proof needs no socket. */
  socketless: boolean;
}

export class Calls {
  session: Session | undefined;
  closed = false;
  #own: Session | undefined;
  #socketId: string | undefined;
  #waiting = deferred<void>();

  readonly #credentials: Credentials;
  readonly #tabs: Tabs<never>;
  /** A session was opened here: for the other tabs. */
  readonly #opened: (session: Session, answer: unknown) => void;
  /** Nobody here can open one: another tab may. */
  readonly #ask: () => void;

  constructor(
    credentials: Credentials,
    tabs: Tabs<never>,
    opened: (session: Session, answer: unknown) => void,
    ask: () => void,
  ) {
    this.#credentials = credentials;
    this.#tabs = tabs;
    this.#opened = opened;
    this.#ask = ask;
  }

  /** A new socket of this tab. */
  connected(socketId: string): void {
    // A session dies with the socket that it was opened by.
    if (socketId !== this.#socketId && this.session === this.#own) this.session = undefined;
    this.#socketId = socketId;
    this.#wake();
  }

  /** Another tab's session. */
  share(session: Session): void {
    this.session = session;
    this.#wake();
  }

  #wake(): void {
    this.#waiting.resolve();
    this.#waiting = deferred();
  }

  #usable(refused?: string): Session | undefined {
    const { session } = this;
    return session && session.token !== refused && session.endsAt > Date.now() ? session : undefined;
  }

  /** A token that lives, of this tab or of another. */
  async token(refused?: string): Promise<string> {
    const session =
      this.#usable(refused) ??
      (await this.#tabs.alone('session', async () => this.#usable(refused) ?? this.#open(refused)));
    return session.token;
  }

  async #open(refused?: string): Promise<Session> {
    const { channel, prove, socketless } = this.#credentials;
    const end = Date.now() + SOCKET_MS;
    while (!socketless && !this.#socketId) {
      this.#ask();
      await within(this.#waiting.promise, end - Date.now(), 'offline', 'there is no connection to the server');
      const shared = this.#usable(refused);
      if (shared) return shared;
    }
    const socket_id = this.#socketId;
    let proof: Proof;
    try {
      proof = await within(prove(socket_id), REQUEST_MS, 'timeout', "the application's authorization did not answer");
    } catch (error) {
      if (error instanceof InboxError) throw error;
      throw new InboxError('unauthorized', `the application has not authorized ${channel}`, 0, undefined, undefined, error);
    }
    // An authorization may hold more, such as an encrypted channel's secret: that is nobody's business.
    const { jwt, auth, channel_data, user_data } = proof as Record<string, string>;
    const body = jwt
      ? { jwt }
      : { socket_id, auth, ...(user_data ? { user_data } : { channel_name: channel, channel_data }) };
    const answer = ('token' in proof ? proof : await this.#fetch('POST', 'session', body)) as { token: string; expires_in?: number };
    const lifetime = (answer.expires_in ?? 600) * 1000;
    const session = { token: answer.token, endsAt: Date.now() + lifetime - Math.min(SESSION_MARGIN_MS, lifetime / 2) };
    this.share(session);
    this.#own = session;
    this.#opened(session, answer);
    return session;
  }

  /** One request with a session; with a new one if the server does not take the old one any more. */
  async call(method: string, path: string, body?: unknown): Promise<unknown> {
    if (this.closed) throw new InboxError('closed', 'this inbox was closed');
    const token = await this.token();
    try {
      return await this.#fetch(method, path, body, token);
    } catch (error) {
      if ((error as InboxError).status !== 401) throw error;
      return this.#fetch(method, path, body, await this.token(token));
    }
  }

  async #fetch(method: string, path: string, body?: unknown, token?: string): Promise<unknown> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.#credentials.url}/inbox/${path}`, {
        method,
        headers: {
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        credentials: 'omit',
        // A link that is followed marks its notification as read, and the page ends.
        keepalive: method === 'POST',
        signal: AbortSignal.timeout(REQUEST_MS),
      });
      text = await response.text();
    } catch (error) {
      const code = (error as Error).name === 'TimeoutError' ? 'timeout' : 'network';
      throw new InboxError(code, 'the server did not answer', 0, undefined, undefined, error);
    }
    let answer: { error?: string; message?: string; path?: string } | undefined;
    try {
      answer = JSON.parse(text || '{}');
    } catch {
      // Of a proxy between, or of something else at this address.
    }
    if (response.ok && answer) return answer;
    throw new InboxError(
      answer?.error ?? 'unexpected',
      answer?.message ?? `the server answered ${response.status}`,
      response.status,
      Number(response.headers.get('retry-after')) * 1000 || undefined,
      answer?.path,
    );
  }
}
