// What a team writes that takes socket.io and does the rest itself: a room for each channel, a signature to enter a
// private one, and an endpoint through which the application publishes. The signature and the endpoint are shaped like
// Pusher's, so that the same publishers can be used; of a publication only the key is checked.
const { createHmac, timingSafeEqual } = require('node:crypto');
const { createServer } = require('node:http');
const { Server } = require('socket.io');

const port = Number(process.env.PORT ?? 6001);
const [appId, key, secret] = ['app-id', 'app-key', 'app-secret'];

function mayEnter(socket, channel, auth) {
  if (!channel.startsWith('private-')) return true;
  const expected = `${key}:${createHmac('sha256', secret).update(`${socket.id}:${channel}`).digest('hex')}`;
  const [given, wanted] = [Buffer.from(String(auth)), Buffer.from(expected)];
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

async function publish(request, response) {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const isOurs = request.method === 'POST' && pathname === `/apps/${appId}/events` && searchParams.get('auth_key') === key;
  if (!isOurs) return response.writeHead(404).end();
  const parts = [];
  for await (const part of request) parts.push(part);
  const { name, channel, channels = [channel], data, socket_id: except } = JSON.parse(Buffer.concat(parts));
  for (const one of channels) {
    const room = except ? io.to(one).except(except) : io.to(one);
    room.emit(name, one, data);
  }
  response.setHeader('Content-Type', 'application/json').end('{}');
}

const http = createServer();
const io = new Server(http, { serveClient: false });
http.on('request', (request, response) => {
  // socket.io answers what is its own.
  if (request.url.startsWith('/socket.io/')) return;
  publish(request, response).catch(() => response.writeHead(400).end());
});
io.on('connection', (socket) => {
  socket.on('subscribe', (channel, auth, done) => {
    if (!mayEnter(socket, channel, auth)) return done(false);
    socket.join(channel);
    return done(true);
  });
});
http.listen({ host: '127.0.0.1', port, backlog: 4096 });
