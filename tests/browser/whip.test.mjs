/** Publishing by WHIP and watching by WHEP, with plain `fetch` in a page that knows nothing of us, and with FFmpeg. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';
import { scene } from './lib/scene.mjs';
import { PICTURE, colourOf, installDevices, readPicture, readTone, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const PYTHON = fileURLToPath(new URL('../../target/tools/native/bin/python', import.meta.url));

const whip = scene();
const programs = [];
after(() => programs.forEach((program) => program.kill('SIGKILL')));
let browser;

/** An empty page of the server's origin, with the devices of participant `index`. */
async function emptyPage(index) {
  browser ??= await whip.browser();
  const page = await (await browser.createBrowserContext()).newPage();
  const devices = { index, tone: toneOf(index), width: 640, height: 360, fps: 15, picture: PICTURE };
  await page.evaluateOnNewDocument(installDevices, devices);
  await page.goto(`${whip.server.url}/healthz`);
  return page;
}

/** Runs in the page: sends the camera and microphone (or receives into #out); returns the session's address. */
async function post(address, publish) {
  const connection = new RTCPeerConnection();
  window.connection = connection;
  if (publish) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
    for (const track of stream.getTracks()) connection.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
  } else {
    const stream = new MediaStream();
    const out = document.createElement('video');
    Object.assign(out, { id: 'out', autoplay: true, muted: true, srcObject: stream });
    document.body.append(out);
    connection.ontrack = ({ track }) => stream.addTrack(track);
    for (const kind of ['audio', 'video']) connection.addTransceiver(kind, { direction: 'recvonly' });
  }
  await connection.setLocalDescription();
  const answer = await fetch(address, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: connection.localDescription.sdp });
  if (answer.status !== 201) return { error: `${answer.status} ${await answer.text()}` };
  await connection.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  return { session: answer.headers.get('location') };
}

/** The one participant that `person` knows. */
const other = (person) =>
  until('the publisher in the list', async () => {
    const id = await person.page.evaluate(() => [...window.switchyard.room.participants.keys()][0]);
    return id ? { id } : { error: 'nobody' };
  });

whip.test('a page that publishes by WHIP is seen and heard, until it deletes its session', async () => {
  const page = await emptyPage(3);
  const { session, error } = await page.evaluate(post, '/whip/stage', true);
  assert.equal(error, undefined);
  const person = await whip.join(browser, 'stage', 0);
  const publisher = { id: (await other(person)).id, index: 3, name: 'the WHIP page' };
  await person.sees(publisher);
  await person.hears(publisher);
  const status = await page.evaluate(async (address) => (await fetch(address, { method: 'DELETE' })).status, session);
  assert.equal(status, 200);
  await person.misses(publisher, undefined, 3000);
  await person.close();
});

whip.test('a page that watches by WHEP sees and hears, and nobody sees it', async () => {
  const person = await whip.join(browser, 'hall', 4);
  const page = await emptyPage(5);
  const answered = await until('a session', async () => {
    const answer = await page.evaluate(post, '/whep/hall', false);
    // Nobody publishes yet: that is said, and asking again is right.
    return answer.error?.startsWith('409') ? answer : { answer };
  });
  assert.equal(answered.answer.error, undefined);
  const look = () => page.evaluate(readPicture, '#out', PICTURE);
  const first = await until('the picture', look);
  assert.deepEqual([first.index, first.colour], [4, colourOf(4, 'camera')]);
  await until('the picture to move', async () => (await look()).counter !== first.counter);
  await until('the tone', async () => {
    const heard = await page.evaluate(readTone, '#out');
    return Math.abs(heard.hertz - toneOf(4)) < 20 ? heard : { error: heard };
  });
  assert.equal((await person.page.$$('.tile:not([data-local])')).length, 0);
  await person.close();
});

whip.test('FFmpeg publishes H.264 by WHIP, with us as the DTLS client', async () => {
  const person = await whip.join(browser, 'ffmpeg', 0);
  const program = execFileSync(PYTHON, ['-c', 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())']).toString().trim();
  const picture = '-f lavfi -i testsrc2=size=640x360:rate=15 -c:v libx264 -profile:v baseline -preset ultrafast -tune zerolatency -g 30 -bf 0 -pix_fmt yuv420p';
  const sound = `-f lavfi -i sine=frequency=${toneOf(6)}:sample_rate=48000 -c:a libopus -ar 48000 -ac 2`;
  const [input, encode] = [picture, sound].map((text) => text.split(' -c:'));
  const args = `-loglevel warning -re ${input[0]} ${encode[0]} -c:${input[1]} -c:${encode[1]} -f whip`.split(' ');
  const ffmpeg = spawn(program, [...args, `${whip.server.url}/whip/ffmpeg`], { stdio: ['pipe', 'ignore', 'pipe'] });
  programs.push(ffmpeg);
  let said = '';
  ffmpeg.stderr.on('data', (data) => (said += data));
  const publisher = { ...(await other(person)), index: 6, name: 'FFmpeg' };
  const frames = () =>
    person.page.evaluate((selector) => {
      const video = document.querySelector(selector);
      return { frames: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0, width: video?.videoWidth };
    }, `${person.tileOf(publisher)} video`);
  await until('30 frames from FFmpeg', async () => {
    const seen = await frames();
    return seen.frames >= 30 && seen.width === 640 ? seen : { error: { ...seen, said } };
  }, 40_000);
  await person.hears(publisher);
  await person.screenshot('whip-ffmpeg');
  ffmpeg.stdin.write('q');
  await person.misses(publisher);
});
