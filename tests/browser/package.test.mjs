/** The client library as a package: its size, its tarball with types and licences, its entries, and the examples of its README, which run as they stand there. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { emptyPage, seesMoving } from './lib/plain.mjs';
import { scene } from './lib/scene.mjs';
import { OUT } from './lib/server.mjs';
import { PICTURE, readPicture } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const CLIENT = fileURLToPath(new URL('../../web-demo/client/', import.meta.url));
const TOP = fileURLToPath(new URL('../../', import.meta.url));
const BIN = fileURLToPath(new URL('./node_modules/.bin/', import.meta.url));
const KB = 1000;
const ROOM_BYTES_MAX = 40 * KB;
/** With whatever it needs of the rest. */
const ENTRY_BYTES_MAX = 20 * KB;

const manifest = JSON.parse(readFileSync(`${CLIENT}package.json`, 'utf8'));
const readme = readFileSync(`${CLIENT}README.md`, 'utf8');

async function minified(entry) {
  const { outputFiles } = await build({ entryPoints: [`${CLIENT}${entry}`], bundle: true, minify: true, format: 'esm', target: 'es2022', write: false, logLevel: 'error' });
  return outputFiles[0].contents.length;
}

test('a room is under 40 KB minified, every other entry under 20 KB', async (t) => {
  const room = await minified('index.js');
  const others = Object.values(manifest.exports).map((entry) => entry.default).filter((path) => path !== './index.js');
  others.push('./e2ee/worker.js');
  const sizes = await Promise.all(others.map(async (path) => [path.slice(2), await minified(path)]));
  t.diagnostic(`minified: a room ${Math.round(room / KB)} KB, ${sizes.map(([path, size]) => `${path} ${Math.round(size / KB)} KB`).join(', ')}`);
  assert.ok(room < ROOM_BYTES_MAX, `${room} bytes`);
  for (const [name, text] of [['README.md', readFileSync(`${TOP}README.md`, 'utf8')], ['client/README.md', readme]]) {
    assert.equal(Number(/a room is under (\d+) KB minified/i.exec(text)?.[1]) * KB, ROOM_BYTES_MAX, name);
  }
  for (const [path, size] of sizes) assert.ok(size < ENTRY_BYTES_MAX, `${path}: ${size} bytes`);
});

/** An application of somebody else's, which has nothing but the tarball. */
const app = `${OUT}package/app/`;
const installed = `${app}node_modules/switchyard-client/`;

/** Where nothing can be asked of a registry. */
function npm(cwd, ...args) {
  const env = { ...process.env, PATH: `${BIN}:${process.env.PATH}`, npm_config_cache: `${OUT}package/cache`, npm_config_offline: 'true', npm_config_audit: 'false', npm_config_fund: 'false', npm_config_update_notifier: 'false' };
  return execFileSync('npm', args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

before(() => {
  rmSync(`${OUT}package/`, { recursive: true, force: true });
  mkdirSync(app, { recursive: true });
  // What packing writes into the folder is nothing of ours.
  cpSync(CLIENT, `${OUT}package/source/`, { recursive: true });
  npm(`${OUT}package/source/`, 'pack', '--pack-destination', `${OUT}package/`);
  writeFileSync(`${app}package.json`, JSON.stringify({ private: true, type: 'module' }));
  npm(app, 'install', '--ignore-scripts', `${OUT}package/switchyard-client-${manifest.version}.tgz`);
});

test('the tarball holds every entry with its types, and the licences that it names', () => {
  for (const { types, default: path } of Object.values(manifest.exports)) for (const file of [types, path]) assert.ok(existsSync(`${installed}${file}`), file);
  assert.equal(manifest.license, 'MIT OR Apache-2.0');
  for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) assert.equal(readFileSync(`${installed}${licence}`, 'utf8'), readFileSync(`${TOP}${licence}`, 'utf8'), licence);
  assert.equal(readFileSync(`${installed}README.md`, 'utf8'), readme);
  const lock = JSON.parse(readFileSync(`${app}package-lock.json`, 'utf8'));
  assert.deepEqual(Object.keys(lock.packages), ['', 'node_modules/switchyard-client'], 'it needs nothing else');
});

test('every entry can be imported by its name, also where there is no page', () => {
  const entries = Object.keys(manifest.exports).map((name) => name.replace('.', manifest.name));
  writeFileSync(`${app}entries.js`, `for (const name of ${JSON.stringify(entries)}) console.log(name, Object.keys(await import(name)).length);\n`);
  const said = execFileSync(process.execPath, ['entries.js'], { cwd: app, encoding: 'utf8' }).trim().split('\n');
  assert.equal(said.length, entries.length);
  for (const line of said) assert.match(line, / [1-9]\d*$/);
});

test('whoever writes TypeScript is told what events carry, and what is wrong', () => {
  writeFileSync(
    `${app}app.ts`,
    `import { connect, SwitchyardError, type Room } from 'switchyard-client';
import { Encryption } from 'switchyard-client/encryption';
import { LocalMedia } from 'switchyard-client/local-media';
import { watch } from 'switchyard-client/whep';
const room: Room = await connect('wss://example.org/ws', { room: 'demo', name: 'Ada', encryption: new Encryption({ bits: 256 }) });
room.on('tracksubscribed', ({ participant, track, stream }) => {
  const [name, kind, media]: [string, 'audio' | 'video', MediaStream] = [participant.name, track.kind, stream];
  console.log(name, kind, media);
});
const stop: () => void = room.on('statechange', ({ state }) => state === 'reconnecting');
watch('https://example.org/whep/demo').on('viewers', ({ count }) => console.log(count.toFixed()));
new LocalMedia(room, { lost: (sentence) => console.log(sentence.length) });
// @ts-expect-error there is no such event
room.on('tracksubscribe', () => undefined);
// @ts-expect-error it carries no such thing
room.on('closed', ({ code }) => code);
// @ts-expect-error a room has a name
await connect('wss://example.org/ws', { name: 'Ada' });
// @ts-expect-error there is no such source
await room.publish(new MediaStreamTrack(), { source: 'webcam' });
console.log(stop, new SwitchyardError('code', 'message').code);
`,
  );
  const options = { compilerOptions: { strict: true, noEmit: true, target: 'ES2022', module: 'ES2022', moduleResolution: 'bundler', lib: ['ES2023', 'DOM', 'DOM.Iterable'], types: [] }, files: ['app.ts'] };
  writeFileSync(`${app}tsconfig.json`, JSON.stringify(options));
  try {
    execFileSync(`${BIN}tsc`, ['-p', app], { encoding: 'utf8' });
  } catch (error) {
    assert.fail(error.stdout);
  }
});

const examples = scene();
let browser;
let bob;

/** The code under a heading of the README. */
function example(heading) {
  const section = readme.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  return /```js\n([\s\S]*?)```/.exec(section)[1];
}

/** Runs an example as somebody with colour and tone `index`; resolves when its last line is done. */
async function run(heading, index) {
  const page = await emptyPage(browser, examples.server.url, index);
  // The server's policy lets no page have scripts of its own.
  await page.setBypassCSP(true);
  await page.reload();
  const address = examples.server.url.replace('http://', '');
  const code = example(heading).replaceAll('wss://example.org', `ws://${address}`).replaceAll('https://example.org', `http://${address}`);
  const imports = Object.fromEntries(Object.entries(manifest.exports).map(([name, entry]) => [name.replace('.', 'switchyard-client'), `/client/${entry.default.slice(2)}`]));
  await page.evaluate((map) => document.head.append(Object.assign(document.createElement('script'), { type: 'importmap', textContent: map })), JSON.stringify({ imports }));
  await page.evaluate(
    (text) =>
      new Promise((resolve, reject) => {
        Object.assign(window, { exampleDone: resolve });
        window.addEventListener('error', ({ message }) => reject(new Error(message)));
        window.addEventListener('unhandledrejection', ({ reason }) => reject(new Error(reason?.message ?? String(reason))));
        document.head.append(Object.assign(document.createElement('script'), { type: 'module', textContent: `${text}\nwindow.exampleDone();` }));
      }),
    code,
  );
  return page;
}

/** Waits until a video of the page shows somebody. */
const shows = (page, index) =>
  until(`the picture of ${index}`, async () => {
    const seen = await page.evaluate(readPicture, 'video', PICTURE);
    return seen.error || seen.index === index ? seen : { error: 'somebody else', seen };
  });

/** The other whom Bob's page shows, as participant `index`. */
const guest = (index) =>
  until('the guest', async () => {
    const id = await bob.page.evaluate(() => [...window.switchyard.room.participants.values()].find(({ name }) => name === 'Ada')?.id);
    return id ? { id, index, name: 'Ada' } : { error: 'nobody' };
  });

examples.test('joining and publishing takes 15 lines, and two see each other', async () => {
  assert.ok(example('Join and publish').trim().split('\n').length <= 15);
  browser = await examples.browser();
  bob = await examples.join(browser, 'demo', 1);
  const page = await run('Join and publish', 0);
  await bob.sees(await guest(0));
  await bob.hears(await guest(0));
  await shows(page, 1);
  await page.close();
});

examples.test('watching takes 5 lines', async () => {
  assert.ok(example('Watch').trim().split('\n').length <= 5);
  const page = await run('Watch', 2);
  await page.evaluate(() => (document.querySelector('video').id = 'out'));
  await seesMoving(page, 1);
  await page.close();
});

examples.test('a layout of one’s own shows who speaks, and says how', async () => {
  const page = await run('A layout of your own', 2);
  await shows(page, 1);
  await until('a line about it', () => page.evaluate(() => /^P1: \d+ pixels wide, limited by \w+/.test(document.querySelector('p').textContent) || { error: document.querySelector('p').textContent }));
  await page.close();
});

examples.test('chat: what is said is on the page, and what was said before', async () => {
  await bob.page.evaluate(() => window.switchyard.room.chat.say('Good morning'));
  const page = await run('Chat', 2);
  const lines = () => page.evaluate(() => [...document.querySelectorAll('p')].map(({ textContent }) => textContent));
  await until('both lines', async () => {
    const said = await lines();
    return said.join() === 'P1: Good morning,Ada: Hello' || { error: said };
  });
  await until('the greeting', () => bob.page.evaluate(() => window.switchyard.room.chat.messages.at(-1)?.text === 'Hello'));
  await page.close();
});

examples.test('a game: both see where the other is', async () => {
  const page = await run('Messages of your own', 2);
  await bob.page.evaluate(() => {
    window.positions = [];
    window.switchyard.room.on('data', ({ topic, payload, reliable }) => topic === 'position' && window.positions.push([...new Float32Array(payload.slice().buffer), reliable]));
  });
  await page.mouse.move(40, 70);
  await until('Ada’s ship at Bob', () => bob.page.evaluate(() => {
    const last = window.positions.at(-1);
    return last?.join() === '40,70,false' || { error: last ?? 'nothing' };
  }));
  await bob.page.evaluate(() => window.switchyard.room.publishData(new Float32Array([10, 20]), { topic: 'position', reliable: false }));
  await until('Bob’s ship at Ada', () => page.evaluate(() => {
    const ship = document.querySelector('output');
    return (ship?.style.left === '10px' && ship.style.top === '20px') || { error: ship?.outerHTML ?? 'none' };
  }));
  await page.close();
});

examples.test('devices: the last camera of the list is what is sent', async () => {
  const page = await run('Devices', 3);
  await bob.sees(await guest(3), { device: 'camera2' });
  await bob.hears(await guest(3));
  await page.close();
});

examples.test('encryption: who has the passphrase sees it, who has not is told', async () => {
  const page = await run('End-to-end encryption', 4);
  const note = await until('a sentence', () => bob.page.evaluate(() => document.querySelector('.tile-note:not([hidden])')?.textContent || { error: 'none' }));
  assert.match(note, /encrypted end to end/);
  const carl = await examples.join(browser, 'demo', 5, { query: `#key=${encodeURIComponent('correct horse battery staple')}` });
  // By now the next secret is in use.
  const tile = carl.tileOf(await guest(4));
  const told = await until('a sentence', () => carl.page.evaluate((selector) => document.querySelector(`${selector} .tile-note:not([hidden])`)?.textContent || { error: 'none' }, tile));
  assert.match(told, /another passphrase/);
  await carl.page.close();
  await page.close();
});

test('every example of the README is run here', () => {
  const headings = readme.split(/^## /m).filter((text) => text.includes('```js')).map((text) => text.split('\n')[0]);
  assert.deepEqual(headings, ['Join and publish', 'Watch', 'A layout of your own', 'Chat', 'Messages of your own', 'Devices', 'End-to-end encryption']);
});
