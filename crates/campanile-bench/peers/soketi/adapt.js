// soketi looks for its fields on the socket object. The build of uWebSockets.js that Node 20 loads keeps them behind
// getUserData(), so they are copied when a socket opens.
const fs = require('node:fs');

const file = require.resolve('@soketi/soketi/dist/ws-handler.js');
const source = fs.readFileSync(file, 'utf8');
const opening = 'onOpen(ws) {';
const copy = ' Object.assign(ws, ws.getUserData?.());';
if (!source.includes(opening)) throw new Error(`${file} has no ${opening}: is it another version?`);
if (!source.includes(opening + copy)) fs.writeFileSync(file, source.replace(opening, opening + copy));
