/**
 * Requests of scripts. Each carries the session's token, and the socket's id, so that nobody is told what they did.
 */

import { type Live, setting } from './echo';

const PATIENCE_MS = 10_000;

export async function get<T>(path: string): Promise<T> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  return read(await fetch(path, { headers: { Accept: 'application/json' }, signal }));
}

export async function post<T>(path: string, fields: Record<string, string>, echo?: Live): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json', 'X-CSRF-Token': setting('csrf-token') ?? '' };
  const socket = echo?.socketId();
  if (socket) headers['X-Socket-ID'] = socket;
  const signal = AbortSignal.timeout(PATIENCE_MS);
  return read(await fetch(path, { method: 'POST', headers, body: new URLSearchParams(fields), signal }));
}

async function read<T>(response: Response): Promise<T> {
  if (!response.ok || response.redirected) throw new Error(`${response.status} ${response.statusText}`);
  return response.json();
}
