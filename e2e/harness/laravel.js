/**
 * Requests as Laravel makes them through the PHP server SDK, signed by hand: query signature, escaped
 * slashes and non-ASCII in the JSON, and the headers that it sends.
 */

import { createHash, createHmac } from 'node:crypto';

/** Broadcasts one event as `broadcast(...)->toOthers()` would. */
export function broadcast(stage, app, { name, data, channels, socketId }) {
  const body = phpJson({ name, data: phpJson(data), channels, ...(socketId && { socket_id: socketId }) });
  return signedRequest(stage, app, 'POST', '/events', { body });
}

/** A signed request below `/apps/ID`; `changes` replaces query parameters after the signature was made. */
export function signedRequest(stage, { id, key, secret }, method, route, { body, params = {}, changes = {}, headers = {} } = {}) {
  const path = `${stage.server.pathPrefix}/apps/${id}${route}`;
  const query = {
    ...params,
    auth_key: key,
    auth_timestamp: String(Math.floor(Date.now() / 1000)),
    auth_version: '1.0',
    ...(body && { body_md5: createHash('md5').update(body).digest('hex') }),
    ...pick(changes, 'auth_timestamp'),
  };
  const sorted = Object.keys(query).sort();
  const toSign = [method, path, sorted.map((name) => `${name}=${query[name]}`).join('&')].join('\n');
  const signature = createHmac('sha256', secret).update(toSign).digest('hex');
  const sent = new URLSearchParams({ ...query, auth_signature: signature, ...changes });
  return fetch(`${stage.server.origin}${path}?${sent}`, {
    method,
    body,
    headers: { 'Content-Type': 'application/json', 'X-Pusher-Library': 'pusher-http-php 7.2.7', ...headers },
  });
}

// A request made long ago is signed with its old time; other changes come after the signature.
function pick(changes, name) {
  return name in changes ? { [name]: changes[name] } : {};
}

// PHP's json_encode escapes slashes and everything outside ASCII.
function phpJson(value) {
  return JSON.stringify(value)
    .replaceAll('/', '\\/')
    .replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
