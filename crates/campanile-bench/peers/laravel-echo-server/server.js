// laravel-echo-server with its HTTP API and without Redis. Who may subscribe it asks on the next port, where
// campanile-bench answers for the application. No database: only presence channels need one.
const port = Number(process.env.PORT ?? 6001);

require('laravel-echo-server').run({
  host: '127.0.0.1',
  port,
  authHost: `http://127.0.0.1:${port + 1}`,
  authEndpoint: '/broadcasting/auth',
  clients: [{ appId: 'app-id', key: 'app-key' }],
  database: 'none',
  subscribers: { http: true, redis: false },
  devMode: false,
});
