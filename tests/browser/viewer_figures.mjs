/**
 * What a viewer of a stream notices, on a quiet machine: the time to the first frame at random moments, and how old the picture is.
 * SWITCHYARD=target/release/switchyard tests/ns.sh node tests/browser/viewer_figures.mjs [joins]
 */
import { chromium } from './lib/browsers.mjs';
import { emptyPage, publish, watch } from './lib/plain.mjs';
import { H264, OPUS, ffmpeg } from './lib/programs.mjs';
import { startServer } from './lib/server.mjs';
import { PICTURE, readPicture } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const JOINS = Number(process.argv[2] ?? 100);
const FPS = 30;

const server = await startServer();
const browsers = [await chromium(), await chromium()];
const page = (browser) => emptyPage(browser, server.url, 3, { fps: FPS });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs in the page: watches, and returns milliseconds from before the offer to the first frame; then leaves. */
async function firstFrame(address) {
  const since = performance.now();
  const connection = new RTCPeerConnection();
  const out = document.createElement('video');
  Object.assign(out, { autoplay: true, muted: true, srcObject: new MediaStream() });
  document.body.append(out);
  connection.ontrack = ({ track }) => out.srcObject.addTrack(track);
  for (const kind of ['audio', 'video']) connection.addTransceiver(kind, { direction: 'recvonly' });
  await connection.setLocalDescription();
  const answer = await fetch(address, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: connection.localDescription.sdp });
  const framed = new Promise((resolve) => out.requestVideoFrameCallback(resolve));
  await connection.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  await framed;
  const ms = performance.now() - since;
  await fetch(answer.headers.get('location'), { method: 'DELETE' });
  connection.close();
  out.remove();
  return ms;
}

async function joins(name, address) {
  const viewer = await page(browsers[1]);
  const times = [];
  for (let join = 0; join < JOINS; join++) {
    await pause(Math.random() * 1000);
    times.push(await viewer.evaluate(firstFrame, address));
  }
  await viewer.close();
  times.sort((a, b) => a - b);
  const at = (share) => Math.round(times[Math.min(times.length - 1, Math.floor(share * times.length))]);
  console.log(`${name}: first frame over ${JOINS} joins p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, worst ${at(1)} ms`);
}

/** Frames between what the publisher's own page shows and what a viewer's page shows, as milliseconds. */
async function age(publisher, viewer) {
  const ages = [];
  for (let look = 0; look < 60; look++) {
    const [own, seen] = await Promise.all([publisher.evaluate(readPicture, '#own', PICTURE), viewer.evaluate(readPicture, '#out', PICTURE)]);
    if (!own.error && !seen.error) ages.push((((own.counter - seen.counter + 1536) % 1024) - 512) * (1000 / FPS));
    await pause(53);
  }
  ages.sort((a, b) => a - b);
  return `median ${Math.round(ages[Math.floor(ages.length / 2)])} ms, worst ${Math.round(ages.at(-1))} ms of ${ages.length} looks`;
}

const publisher = await page(browsers[0]);
await publisher.evaluate(publish, '/whip/page');
await publisher.evaluate(() => {
  const own = document.createElement('video');
  const track = window.connection.getSenders().find((sender) => sender.track?.kind === 'video').track;
  Object.assign(own, { id: 'own', autoplay: true, muted: true, srcObject: new MediaStream([track]) });
  document.body.append(own);
});
const first = await page(browsers[1]);
await until('a session', async () => (await first.evaluate(watch, '/whep/page')).status === 201 || { error: 'nobody publishes' });
await pause(5000);
console.log(`glass to glass, the first viewer: ${await age(publisher, first)}`);
const late = await page(browsers[1]);
await late.evaluate(watch, '/whep/page');
await pause(3000);
console.log(`glass to glass, three seconds after coming late: ${await age(publisher, late)}`);
await late.close();
await joins('Chromium publishes', '/whep/page');
const plis = await publisher.evaluate(async () => [...(await window.connection.getStats()).values()].filter((s) => s.type === 'outbound-rtp').map((s) => s.pliCount ?? 0));
console.log(`keyframe requests that the publisher's page counted: ${Math.max(...plis)}`);
await Promise.all([publisher.close(), first.close()]);

const rare = H264.map((word, index) => (H264[index - 1] === '-g' ? '150' : word));
const program = ffmpeg(6, [...rare, ...OPUS, '-f', 'whip', `${server.url}/whip/ffmpeg`]);
const viewer = await page(browsers[1]);
await until('FFmpeg', async () => (await viewer.evaluate(watch, '/whep/ffmpeg')).status === 201 || { error: program.errors });
await pause(11_000);
await joins('FFmpeg publishes, a keyframe every 10 s', '/whep/ffmpeg');
await program.end();
await Promise.all(browsers.map((browser) => browser.close()));
await server.stop();
process.exit(0);
