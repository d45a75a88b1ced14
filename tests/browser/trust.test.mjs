/** A server for other machines: https with its own certificate, and only for those with a join token. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { BINARY, OUT } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const ADDRESS = '10.99.0.1:8443';
const SECRET = randomBytes(32).toString('base64');
const CONFIG = `${OUT}trust.toml`;
mkdirSync(OUT, { recursive: true });
// Nothing answers there: whoever is told of it also gets through without.
const TURN = { urls: ['turn:10.99.0.1:3478?transport=udp'], username: 'user', credential: 'secret' };
const SERVERS = Object.entries(TURN).map(([key, value]) => `${key} = ${JSON.stringify(value)}`).join('\n');
writeFileSync(CONFIG, `[keys]\nmykey = "${SECRET}"\n[[ice_servers]]\n${SERVERS}\n`, { mode: 0o600 });

const trust = scene({ args: ['serve', '--config', CONFIG, '--listen', ADDRESS, '--tls', 'self-signed'], url: `https://${ADDRESS}` });
let browser;

function token(room, identity, more = ['--identity', identity, '--name', identity]) {
  const args = ['token', '--key', 'mykey', '--room', room, ...more];
  return execFileSync(BINARY, args, { env: { ...process.env, SWITCHYARD_SECRET: SECRET } }).toString().trim();
}

trust.test('two people with tokens meet over https', async () => {
  browser = await trust.browser();
  const people = [];
  for (const index of [0, 1]) people.push(await trust.join(browser, 'team', index, { query: `&token=${token('team', `person ${index}`)}` }));
  await meet(people);
  const protocol = await people[0].page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol);
  assert.equal(protocol, 'h2', 'pages come by HTTP/2');
});

trust.test('row 31: what somebody may do changes during the call, and who is sent away does not come back', async () => {
  const people = [];
  for (const index of [4, 5]) {
    people.push(await trust.join(browser, 'court', index, { query: `&token=${token('court', `person ${index}`)}` }));
  }
  await meet(people);
  const manage = async (method, path, body = '{}') => {
    const headers = { authorization: `Bearer ${token('court', '', ['--admin'])}`, 'content-length': body.length };
    const asked = request(`https://${ADDRESS}/api/rooms/court/${path}`, { method, headers, rejectUnauthorized: false }).end(body);
    const [answer] = await once(asked, 'response');
    assert.equal(Math.floor(answer.statusCode / 100), 2, `${method} ${path}: ${answer.statusCode} ${await text(answer)}`);
  };
  const room = (person, read) => person.page.evaluate(read);
  await room(people[0], `window.switchyard.room.renew(${JSON.stringify(token('court', 'person 4', ['--identity', 'person 4', '--metadata', 'renewed']))})`);
  await until('the news of the renewal', () => room(people[1], () => [...window.switchyard.room.participants.values()].some(({ metadata }) => metadata === 'renewed')));
  await manage('PATCH', 'participants/person%204', '{"permissions":{"can_publish":false}}');
  await until('the tracks to go', () => room(people[0], () => window.switchyard.room.localTracks.size === 0 && !window.switchyard.room.canPublish));
  await until('the tile to be empty', () => room(people[1], () => [...window.switchyard.room.participants.values()].every(({ tracks }) => tracks.size === 0)));
  await manage('DELETE', 'participants/person%204');
  await until('the end', () => room(people[0], () => window.switchyard.room.state === 'closed'));
  await until('the other to know', () => room(people[1], () => window.switchyard.room.participants.size === 0));
});

for (const [what, query] of [['no token', () => ''], ['a token of another room', () => `&token=${token('elsewhere', 'eve')}`]]) {
  trust.test(`with ${what} nobody gets in, and a sentence says why`, async () => {
    const page = await (await browser.createBrowserContext()).newPage();
    await page.goto(`https://${ADDRESS}/?room=team&name=Eve&autojoin=1${query()}`);
    const notice = await until('the sentence', () => page.$eval('#prejoin-notice', (element) => (element.hidden ? '' : element.textContent)));
    assert.match(notice, /token/i);
    assert.equal(await page.evaluate(() => document.body.dataset.state), 'prejoin');
  });
}

trust.test('a stream is sent and watched with tokens, and without one a sentence says why not', async () => {
  const open = async (page, index, identity) => trust.open(browser, `/${page}?room=show${identity ? `&token=${token('show', identity)}` : ''}&autostart=1`, { index });
  const reaches = (person, state) => until(`${person.name} to be ${state}`, () => person.page.evaluate((wanted) => document.body.dataset.state === wanted, state));
  const host = await open('live', 2, 'host');
  await reaches(host, 'live');
  const viewer = await open('watch', 3, 'guest');
  await reaches(viewer, 'playing');
  const servers = await viewer.page.evaluate(() => window.switchyard.viewer.connection.getConfiguration().iceServers);
  assert.deepEqual(servers.map(({ urls, username, credential }) => ({ urls: [urls].flat(), username, credential })), [TURN]);
  // Events are asked for with the token, and read without.
  await until('the viewer to be counted', async () => (await host.page.$eval('#viewers', ({ textContent }) => textContent)) === '1');
  for (const [page, state, id] of [['live', 'setup', 'notice'], ['watch', 'closed', 'curtain-text']]) {
    const stranger = await open(page, 4);
    await until(`the sentence on ${page}`, async () => /token/i.test(await stranger.page.$eval(`#${id}`, ({ textContent }) => textContent)));
    await reaches(stranger, state);
  }
});
