/** LiveKit's own server library against ours: the tokens that it makes open rooms, and its receiver believes our webhooks. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { mkdirSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { AccessToken, WebhookReceiver } from 'livekit-server-sdk';
import WebSocket from 'ws';
import { OUT, startServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const SECRET = randomBytes(32).toString('base64');
const RECEIVER_PORT = 8099;
const received = [];
let server;
let receiver;

before(async () => {
  mkdirSync(OUT, { recursive: true });
  const config = `${OUT}livekit.toml`;
  const webhook = `[webhook]\nurls = ["http://127.0.0.1:${RECEIVER_PORT}/hook"]\nkey = "mykey"\nallow_private = true\n`;
  writeFileSync(config, `[keys]\nmykey = "${SECRET}"\n${webhook}`, { mode: 0o600 });
  const verify = new WebhookReceiver('mykey', SECRET);
  let refusals = 1;
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (data) => (body += data));
    request.on('end', async () => {
      // The first attempt fails, and must be followed by another.
      if (refusals-- > 0) return response.writeHead(503).end();
      received.push(await verify.receive(body, request.headers.authorization));
      return response.end();
    });
  });
  await new Promise((resolve) => receiver.listen(RECEIVER_PORT, '127.0.0.1', resolve));
  server = await startServer(['serve', '--config', config]);
});

after(async () => {
  await server?.stop();
  receiver?.close();
});

function token(identity, grants, options = {}) {
  const made = new AccessToken('mykey', SECRET, { identity, ttl: 60, ...options });
  made.addGrant(grants);
  return made.toJwt();
}

/** Joins by the WebSocket and returns it with the first answer. */
async function join(room, jwt) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/ws`);
  await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }));
  socket.send(JSON.stringify({ type: 'join', version: 1, room, name: 'N', token: jwt }));
  const answer = await new Promise((resolve) => (socket.onmessage = ({ data }) => resolve(JSON.parse(data))));
  return { socket, answer };
}

test('row 29: a token of LiveKit’s server library says here what it says there', async () => {
  const jwt = await token(
    'ada',
    { room: 'team', roomJoin: true, canPublish: true, canPublishData: false, canPublishSources: [1, 3] },
    { name: 'Ada', metadata: '{"seat":4}', attributes: { team: 'red' } },
  );
  const { socket, answer } = await join('team', jwt);
  assert.equal(answer.type, 'welcome', JSON.stringify(answer));
  assert.equal(answer.identity, 'ada');
  assert.deepEqual([answer.can_publish, answer.can_publish_data, answer.can_subscribe], [true, false, true]);
  assert.deepEqual(answer.can_publish_sources, ['camera', 'screen_share']);
  const { answer: other } = await join('team', await token('bob', { room: 'team', roomJoin: true }));
  const [ada] = other.participants;
  assert.deepEqual([ada.name, ada.metadata, ada.attributes], ['Ada', '{"seat":4}', { team: 'red' }]);
  socket.send(JSON.stringify({ type: 'leave' }));
});

test('a token for another room, or of another secret, is refused', async () => {
  const elsewhere = await join('team', await token('eve', { room: 'elsewhere', roomJoin: true }));
  assert.equal(elsewhere.answer.code, 'unauthorized');
  const made = new AccessToken('mykey', SECRET.toLowerCase(), { identity: 'eve', ttl: 60 });
  made.addGrant({ room: 'team', roomJoin: true });
  assert.equal((await join('team', await made.toJwt())).answer.code, 'unauthorized');
});

test('tokens of the library manage rooms by the HTTP API', async () => {
  const bearer = async (grants) => ({ authorization: `Bearer ${await token('backend', grants)}`, 'content-type': 'application/json' });
  const made = await fetch(`${server.url}/api/rooms`, { method: 'POST', headers: await bearer({ roomCreate: true }), body: '{"name":"made"}' });
  assert.equal(made.status, 201);
  const listed = await fetch(`${server.url}/api/rooms`, { headers: await bearer({ roomList: true }) });
  assert.ok((await listed.json()).rooms.some(({ name }) => name === 'made'));
  const ended = await fetch(`${server.url}/api/rooms/made`, { method: 'DELETE', headers: await bearer({ room: 'made', roomAdmin: true }) });
  assert.equal(ended.status, 204);
});

test('the library’s receiver verifies every webhook, in order, also after a failure', async () => {
  const of = (room) => received.filter((event) => event.room.name === room).map(({ event }) => event);
  await until('the events', () => of('team').includes('participant_left') && of('made').includes('room_finished'));
  assert.deepEqual(of('team').slice(0, 3), ['room_started', 'participant_joined', 'participant_joined']);
  assert.deepEqual(of('made'), ['room_started', 'room_finished']);
  const ada = received.find(({ event, participant }) => event === 'participant_joined' && participant.identity === 'ada');
  assert.equal(ada.participant.metadata, '{"seat":4}');
  assert.equal(ada.participant.permission.canPublishData, false);
  assert.ok(ada.id.startsWith('EV_') && Number(ada.createdAt) > 1.7e9);
});
