// The least that a server can do and still be measured: Pusher's frames over uWebSockets.js' topics. No signature is
// checked, no app is known, and a presence channel is an ordinary one.
const uws = require('uWebSockets.js');

const port = Number(process.env.PORT ?? 6001);
const json = JSON.stringify;
const byId = new Map();
let opened = 0;

const said = (event, channel, data) => json({ event, channel, data: typeof data === 'string' ? data : json(data) });

function greet(socket) {
  const id = `${(opened += 1)}.${Math.floor(Math.random() * 1e9)}`;
  socket.getUserData().id = id;
  byId.set(id, socket);
  socket.send(json({ event: 'pusher:connection_established', data: json({ socket_id: id, activity_timeout: 120 }) }));
}

function hear(socket, bytes) {
  const { event, channel, data } = JSON.parse(Buffer.from(bytes).toString());
  if (event === 'pusher:ping') return socket.send(said('pusher:pong', undefined, '{}'));
  if (event === 'pusher:subscribe') {
    socket.subscribe(data.channel);
    return socket.send(said('pusher_internal:subscription_succeeded', data.channel, '{}'));
  }
  if (event === 'pusher:unsubscribe') return socket.unsubscribe(data.channel);
  // uWebSockets.js leaves the sender out.
  if (event?.startsWith('client-')) return socket.publish(channel, said(event, channel, data));
}

function publish(server, { name, channel, channels = [channel], data, socket_id: except }) {
  const sender = byId.get(except);
  for (const one of channels) {
    const frame = said(name, one, data);
    if (sender?.isSubscribed(one)) sender.publish(one, frame);
    else server.publish(one, frame);
  }
}

function receive(response, use) {
  const parts = [];
  response.onAborted(() => {});
  response.onData((part, isLast) => {
    parts.push(Buffer.from(part.slice(0)));
    if (!isLast) return;
    use(JSON.parse(Buffer.concat(parts).toString()));
    response.cork(() => response.writeHeader('Content-Type', 'application/json').end('{}'));
  });
}

const server = uws.App();
server
  .ws('/app/:key', {
    compression: uws.DISABLED,
    idleTimeout: 240,
    maxBackpressure: 256 * 1024 * 1024,
    maxPayloadLength: 1024 * 1024,
    upgrade: (response, request, context) =>
      response.upgrade(
        {},
        request.getHeader('sec-websocket-key'),
        request.getHeader('sec-websocket-protocol'),
        request.getHeader('sec-websocket-extensions'),
        context,
      ),
    open: greet,
    message: hear,
    close: (socket) => byId.delete(socket.getUserData().id),
  })
  .post('/apps/:id/events', (response) => receive(response, (event) => publish(server, event)))
  .post('/apps/:id/batch_events', (response) => receive(response, ({ batch }) => batch.forEach((event) => publish(server, event))))
  .listen('127.0.0.1', port, (isListening) => {
    if (!isListening) throw new Error(`port ${port} is taken`);
  });
