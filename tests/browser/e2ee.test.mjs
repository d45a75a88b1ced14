/** End-to-end encryption in real browsers: those with the key see and hear, those without do not and are told so. */
import assert from 'node:assert/strict';
import { emptyPage } from './lib/plain.mjs';
import { scene } from './lib/scene.mjs';
import { PICTURE, colourOf, readPicture, readTone, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const e2ee = scene();

/** Runs in the page: joins, publishes camera and microphone, and plays whatever comes; `passphrase` empty: without encryption. */
async function enter(room, name, { passphrase, codec, maxVideo }) {
  const { connect, Encryption } = await import('/client/index.js');
  const encryption = passphrase ? await Encryption.fromPassphrase(passphrase, room) : undefined;
  const joined = await connect(`ws://${location.host}/ws`, { room, name, encryption, maxVideo });
  Object.assign(window, { joined, encryption, told: [] });
  const play = ({ participant, track, stream }) => {
    const id = `${track.kind}-${participant.name}`;
    const element = document.getElementById(id) ?? Object.assign(document.createElement(track.kind), { id, autoplay: true, muted: track.kind === 'video' });
    element.srcObject = stream;
    document.body.append(element);
  };
  joined.on('tracksubscribed', play);
  for (const participant of joined.participants.values()) for (const track of participant.tracks.values()) if (track.stream) play({ participant, track, stream: track.stream });
  for (const type of ['trackunavailable', 'trackavailable']) joined.on(type, ({ track, reason = type }) => window.told.push(`${track.source} ${reason}`));
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  await Promise.all(stream.getTracks().map((track) => joined.publish(track, { source: track.kind === 'video' ? 'camera' : 'microphone', codec, simulcast: false })));
}

async function join(browser, room, index, options = {}) {
  const page = await emptyPage(browser, e2ee.server.url, index);
  page.on('console', (m) => console.log(index, m.text()));
  await page.evaluate(enter, room, `P${index}`, { passphrase: 'correct horse', ...options });
  return { page, index };
}

async function meets(one, other) {
  await until(`P${one.index} to see P${other.index}`, async () => {
    const seen = await one.page.evaluate(readPicture, `#video-P${other.index}`, PICTURE);
    const told = await one.page.evaluate(() => window.told);
    return seen.error ? { ...seen, told } : seen.index === other.index && seen.colour === colourOf(other.index, 'camera') ? seen : { error: 'somebody else', seen };
  });
  await until(`P${one.index} to hear P${other.index}`, async () => {
    const heard = await one.page.evaluate(readTone, `#audio-P${other.index}`);
    return heard.error || Math.abs(heard.hertz - toneOf(other.index)) < 20 ? heard : { error: heard };
  });
}

e2ee.test('Chromium and Firefox', async () => {
  const browser = await e2ee.browser();
  const ada = await join(browser, 'sealed', 0);
  const bob = await join(browser, 'sealed', 1);
  let t = performance.now();
  await meets(ada, bob); await meets(bob, ada);
  console.log('chromium', performance.now() - t); t = performance.now();
  const fox = await join(await e2ee.browser('firefox'), 'sealed', 2);
  console.log('fox joined', performance.now() - t); t = performance.now();
  await meets(ada, fox); console.log('ada fox', performance.now() - t);
  await meets(fox, ada);
  console.log('firefox', performance.now() - t);
});
for (const codec of ['h264', 'vp9', 'av1']) e2ee.test(codec, async () => {
  const browser = await e2ee.browser();
  const ada = await join(browser, codec, 3, { codec });
  const bob = await join(browser, codec, 4, { codec });
  await meets(ada, bob); await meets(bob, ada);
});
