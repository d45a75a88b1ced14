/** End-to-end encryption in real browsers: those with the key see and hear, those without do not and are told so. */
import assert from 'node:assert/strict';
import { emptyPage } from './lib/plain.mjs';
import { scene } from './lib/scene.mjs';
import { PICTURE, colourOf, readPicture, readTone, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const e2ee = scene();

const WORD = 'correct horse';

/** Runs in the page: joins, publishes camera and microphone, plays whatever comes, and notes what is said of it. */
async function enter(room, name, { passphrase, codec, maxVideo }) {
  const { connect } = await import('/client/index.js');
  const { Encryption } = await import('/client/e2ee/encryption.js');
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
  for (const type of ['trackunavailable', 'trackavailable']) {
    joined.on(type, ({ participant, track, reason = type }) => window.told.push(`${participant.name} ${track.source} ${reason}`));
  }
  for (const participant of joined.participants.values()) {
    for (const track of participant.tracks.values()) if (track.stream) play({ participant, track, stream: track.stream });
  }
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const sources = { video: 'camera', audio: 'microphone' };
  const tracks = stream.getTracks().filter(({ kind }) => codec !== 'av1' || kind === 'video');
  await Promise.all(tracks.map((track) => joined.publish(track, { source: sources[track.kind], codec, simulcast: false })));
}

async function join(browser, room, index, options) {
  const page = await emptyPage(browser, e2ee.server.url, index);
  await page.evaluate(enter, room, `P${index}`, { passphrase: WORD, ...options });
  return { page, index };
}

const told = ({ page }, text) => until(`to be told ${text}`, () => page.evaluate((wanted) => window.told.includes(wanted) || { error: window.told }, text));

async function sees(one, other) {
  const look = async () => {
    const seen = await one.page.evaluate(readPicture, `#video-P${other.index}`, PICTURE);
    const right = seen.index === other.index && seen.colour === colourOf(other.index, 'camera');
    return seen.error || right ? seen : { error: 'somebody else', seen };
  };
  const first = await until(`P${one.index} to see P${other.index}`, look);
  await until(`P${one.index} to see P${other.index} moving`, async () => {
    const seen = await look();
    return seen.error ? seen : seen.counter !== first.counter || { error: 'frozen' };
  });
}

const hears = (one, other) =>
  until(`P${one.index} to hear P${other.index}`, async () => {
    const heard = await one.page.evaluate(readTone, `#audio-P${other.index}`);
    return !heard.error && heard.level > -50 && Math.abs(heard.hertz - toneOf(other.index)) < 20 ? heard : { error: heard };
  });

async function meet(people) {
  for (const one of people) {
    for (const other of people) {
      if (one === other) continue;
      await sees(one, other);
      await hears(one, other);
    }
  }
}

/** Nothing of the other's is decoded. */
async function isBlindAndDeaf(one, other) {
  const seen = await one.page.evaluate(readPicture, `#video-P${other.index}`, PICTURE);
  assert.ok(seen.error, JSON.stringify(seen));
  const heard = await one.page.evaluate(readTone, `#audio-P${other.index}`);
  assert.ok(heard.error || heard.level < -70, JSON.stringify(heard));
}

let chromium;
let people;

e2ee.test('two Chromiums and a Firefox with the passphrase see and hear each other', async () => {
  chromium = await e2ee.browser();
  const firefox = await e2ee.browser('firefox');
  people = await Promise.all([join(chromium, 'sealed', 0), join(chromium, 'sealed', 1), join(firefox, 'sealed', 2)]);
  await meet(people);
});

e2ee.test('who has no key, or another one, is told so and sees and hears nothing, and is not seen', async () => {
  const [ada] = people;
  const [without, wrong] = await Promise.all([join(chromium, 'sealed', 3, { passphrase: '' }), join(chromium, 'sealed', 4, { passphrase: 'battery staple' })]);
  await told(without, 'P0 camera encrypted');
  await told(without, 'P0 microphone encrypted');
  await told(wrong, 'P0 camera key');
  await told(wrong, 'P0 microphone key');
  await told(ada, 'P3 camera plain');
  await told(ada, 'P4 camera key');
  for (const outsider of [without, wrong]) {
    await isBlindAndDeaf(outsider, ada);
    await isBlindAndDeaf(ada, outsider);
  }
  // With the right words it is one of them.
  await wrong.page.evaluate((word) => window.encryption.setPassphrase(word, 'sealed'), WORD);
  await told(wrong, 'P0 camera trackavailable');
  await sees(wrong, ada);
  await hears(wrong, ada);
  for (const { page } of [without, wrong]) await page.close();
});

e2ee.test('who corrects the passphrase late is seen by those who had given up', async () => {
  const [ada] = people;
  const wrong = await join(chromium, 'sealed', 7, { passphrase: 'battery staple' });
  await told(ada, 'P7 camera key');
  const subscribed = () => ada.page.evaluate(() => [...window.joined.participants.values()].find(({ name }) => name === 'P7').tracks.values().some((track) => track.subscribed));
  await until('Ada to give up', async () => !(await subscribed()));
  await wrong.page.evaluate((word) => window.encryption.setPassphrase(word, 'sealed'), WORD);
  await told(ada, 'P7 camera trackavailable');
  await sees(ada, wrong);
  await hears(ada, wrong);
  await wrong.page.close();
});

e2ee.test('keys change during the call, one person after the other', async () => {
  const [ada, bob, fox] = people;
  const set = ({ page }, use) => page.evaluate((now) => window.encryption.setPassphrase('another word', 'sealed', { id: 1, use: now }), use);
  await Promise.all([set(bob, false), set(fox, false)]);
  await set(ada, true);
  await sees(bob, ada);
  await hears(fox, ada);
  await sees(ada, bob);
  for (const { page } of [bob, fox]) await page.evaluate(() => window.encryption.use(1));
  await meet(people);
  // Who only has the word from before is left out.
  const late = await join(chromium, 'sealed', 5);
  await told(late, 'P0 camera key');
  await isBlindAndDeaf(late, ada);
  await late.page.close();
});

e2ee.test('one slot shows one sealed picture after the other', async () => {
  const viewer = await join(chromium, 'sealed', 6, { maxVideo: 1, passphrase: 'another word' });
  // Its own secret has the id 0 for the others.
  await viewer.page.evaluate(() => window.encryption.setPassphrase('another word', 'sealed', { id: 1 }));
  for (const other of [people[1], people[2], people[0], people[1]]) {
    await viewer.page.evaluate((name) => {
      window.detach?.();
      const participant = [...window.joined.participants.values()].find((one) => one.name === name);
      const track = [...participant.tracks.values()].find(({ kind }) => kind === 'video');
      const frame = Object.assign(document.createElement('div'), { style: 'position: fixed; inset: 0' });
      document.body.prepend(frame);
      window.detach = window.joined.attach(track.id, frame);
    }, `P${other.index}`);
    await sees(viewer, other);
  }
  // Nothing was negotiated for it.
  const slots = await viewer.page.evaluate(() => window.joined.peerConnection.getTransceivers().filter(({ direction, receiver }) => direction === 'recvonly' && receiver.track.kind === 'video').length);
  assert.equal(slots, 1);
  await viewer.page.close();
});

e2ee.test('H.264 and VP9 from Chromium to Chromium', async () => {
  for (const { page } of people) await page.close();
  const pair = await Promise.all([join(chromium, 'codecs', 0, { codec: 'h264' }), join(chromium, 'codecs', 1, { codec: 'vp9' })]);
  await meet(pair);
  const codecs = await pair[0].page.evaluate(() => [...window.joined.localTracks, ...[...window.joined.participants.values()].flatMap(({ tracks }) => [...tracks.values()])].map(({ codec }) => codec));
  assert.deepEqual(codecs.sort(), ['VP9', 'h264', 'opus', 'opus']);
  for (const { page } of pair) await page.close();
});

e2ee.test('AV1, whose packets nobody could make of sealed frames, is refused in words', async () => {
  const page = await emptyPage(chromium, e2ee.server.url, 0);
  await assert.rejects(page.evaluate(enter, 'av1', 'P0', { passphrase: WORD, codec: 'av1' }), /AV1 cannot be encrypted end to end\. Choose VP8/);
  const sections = await page.evaluate(() => window.joined.peerConnection.getTransceivers().filter(({ direction }) => direction === 'sendonly').length);
  assert.equal(sections, 0, 'nothing of it waits to be sent openly');
  await page.close();
});

e2ee.test('where the worker cannot be loaded nobody is left to believe that anything is sealed', async () => {
  const page = await emptyPage(chromium, e2ee.server.url, 0);
  await page.evaluate(() => {
    const { Worker } = window;
    window.Worker = class extends Worker {
      constructor(url, options) {
        super(`${url}.gone`, options);
      }
    };
  });
  await assert.rejects(page.evaluate(enter, 'gone', 'P0', { passphrase: WORD }), /could not be loaded/);
  await page.close();
});

e2ee.test('on the page: the passphrase comes with the link, there is a lock, and outsiders are told', async () => {
  const query = `#key=${encodeURIComponent(WORD)}`;
  const ada = await e2ee.join(chromium, 'page', 0, { query });
  const bob = await e2ee.join(chromium, 'page', 1, { query });
  const eve = await e2ee.join(chromium, 'page', 2);
  await bob.sees(ada);
  await ada.hears(bob);
  await bob.page.waitForSelector(`${bob.tileOf(ada)} .lock:not([hidden])`);
  const note = (person, other) => person.page.waitForFunction((selector) => document.querySelector(`${selector} .tile-note:not([hidden])`)?.textContent, {}, person.tileOf(other));
  assert.equal(await (await note(eve, ada)).jsonValue(), 'This camera is encrypted end to end. Leave, and join with the passphrase.');
  assert.equal(await (await note(ada, eve)).jsonValue(), 'This camera is not encrypted, so it stays out of your encrypted meeting.');
  await eve.hearsNothingOf(ada);
  await ada.screenshot('e2ee-ada');
  await eve.screenshot('e2ee-eve');
});
