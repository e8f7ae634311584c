/**
 * The server's configuration file, for these tests.
 *
 * The only place that knows the names of the server's settings.
 */

export const APP = {
  id: '4242', // digits, because the PyPI SDK takes no other id
  key: 'e2e-key',
  secret: 'e2e-secret',
};
export const OLDER_KEY = { key: APP.key, secret: APP.secret };
export const NEWER_KEY = { key: 'e2e-key-2', secret: 'e2e-secret-2' };
export const DISABLED_APP = { id: 'closed', key: 'closed-key', secret: 'closed-secret' };
export const SMALL_APP = { id: 'small', key: 'small-key', secret: 'small-secret', connectionsMax: 2 };
export const FENCED_APP = { id: 'fenced', key: 'fenced-key', secret: 'fenced-secret' };
export const BRIEF_APP = { id: 'brief', key: 'brief-key', secret: 'brief-secret' };

export const SERVER_TOKEN = 'e2e-secret-token-of-an-applications-server';

export const ACTIVITY_TIMEOUT_SECS = 20;
export const REPLAY_EVENTS_MAX = 5;
const BRIEF_ACTIVITY_TIMEOUT_SECS = 1;
const PONG_TIMEOUT_SECS = 2;
const PRESENCE_GRACE_SECS = 1;
const DRAIN_WAVE_SECS = 1;
const DRAIN_WEBHOOKS_FLUSH_SECS = 2;

const WEBHOOK_EVENTS = [
  'channel_occupied',
  'channel_vacated',
  'member_added',
  'member_removed',
  'client_event',
  'cache_miss',
  'subscription_count',
];

/**
 * The TOML for one server; `allowedOrigins` fences FENCED_APP only, `certificate` names two files, `guard` are the rules of
 * APP, `inbox` where its users' notifications are.
 */
export function configuration({
  stateDir,
  port,
  webhookUrl,
  webhookPrefix = '',
  allowedOrigins = [],
  keys = [OLDER_KEY, NEWER_KEY],
  pathPrefix = '',
  certificate,
  readyDelaySecs = 0,
  idempotencyWindowSecs = 600,
  compression = false,
  guard = {},
  inbox,
}) {
  const apps = [
    {
      id: APP.id,
      name: 'End to end',
      keys,
      client_events: true,
      user_authentication: true,
      watchlists: true,
      subscription_counts: true,
      activity_timeout_secs: ACTIVITY_TIMEOUT_SECS,
      replay_channels: ['private-replay-*', 'presence-replay-*', 'private-cache-replay-*', 'presence-cache-replay-*'],
      replay_events_max: REPLAY_EVENTS_MAX,
      allowed_origins: [],
      guard,
      ...(inbox && { inbox, server_tokens: [{ token: SERVER_TOKEN }] }),
      webhooks: [
        {
          url: webhookUrl,
          events: WEBHOOK_EVENTS,
          channel_prefix: webhookPrefix,
          headers: { 'X-Custom': 'yes' },
          batch: true,
        },
      ],
    },
    { ...named(DISABLED_APP), enabled: false },
    { ...named(SMALL_APP), connections_max: SMALL_APP.connectionsMax },
    { ...named(FENCED_APP), allowed_origins: allowedOrigins },
    { ...named(BRIEF_APP), activity_timeout_secs: BRIEF_ACTIVITY_TIMEOUT_SECS },
  ];
  return [
    table('', { state_dir: stateDir, compression }),
    table('[listen]', { host: '127.0.0.1', port, path_prefix: pathPrefix }),
    ...(certificate ? [table('[tls]', { cert_file: certificate.cert, key_file: certificate.key })] : []),
    table('[limits]', {
      pong_timeout_secs: PONG_TIMEOUT_SECS,
      presence_grace_secs: PRESENCE_GRACE_SECS,
      idempotency_window_secs: idempotencyWindowSecs,
    }),
    ...(inbox ? [table('[inbox]', {})] : []),
    table('[drain]', {
      ready_delay_secs: readyDelaySecs,
      wave_secs: DRAIN_WAVE_SECS,
      webhooks_flush_secs: DRAIN_WEBHOOKS_FLUSH_SECS,
    }),
    ...apps.map((app) => table('[[apps]]', app)),
  ].join('\n');
}

function named({ id, key, secret }) {
  return { id, name: id, keys: [{ key, secret }] };
}

function table(header, settings) {
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${inline(value)}`);
  return [header, ...lines, ''].join('\n');
}

// JSON strings, numbers and booleans are also TOML; arrays and tables differ in their separators only.
function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`;
  if (typeof value !== 'object') return JSON.stringify(value);
  const pairs = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)} = ${inline(inner)}`);
  return `{ ${pairs.join(', ')} }`;
}
