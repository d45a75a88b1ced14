/**
 * Figures, not tests: `tests/ns.sh node tests/browser/figures.mjs` after a build; SWITCHYARD=target/release/switchyard for the
 * release build. Prints the time from join to the first decoded frame, and what a publisher sends after 10 s, here and peer to peer.
 */
import { chromium } from './lib/browsers.mjs';
import { Participant } from './lib/participant.mjs';
import { startServer } from './lib/server.mjs';
import { PICTURE, installDevices, toneOf } from './lib/synthetic.mjs';

const JOINS = 11;
const RAMPS = 3;
const RAMP_MS = 10_000;
const WINDOW_MS = 2000;
/** What the demo allows a camera of this size, without simulcast. */
const MAX_BITRATE = 1_700_000;
const CAMERA = { width: 640, height: 360, fps: 30, noise: true };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function firstFrames(url) {
  const [one, other] = [await chromium(), await chromium()];
  await Participant.join(one, { url, room: 'first', index: 0 });
  const times = [];
  for (let i = 0; i < JOINS; i++) {
    const person = await Participant.join(other, { url, room: 'first', index: 1 });
    times.push(await person.firstFrameMs());
    await person.close();
  }
  await Promise.all([one.close(), other.close()]);
  console.log(`join to first decoded frame, ${JOINS} joins: median ${median(times)} ms, worst ${Math.max(...times)} ms`);
}

/** Bytes of video sent on `connection`, runs in the page. */
async function sentBytes(connection) {
  const report = await connection.getStats();
  return [...report.values()].filter(({ type, kind }) => type === 'outbound-rtp' && kind === 'video').reduce((sum, { bytesSent }) => sum + bytesSent, 0);
}

async function bitrateAfterRamp(page, connection) {
  await sleep(RAMP_MS - WINDOW_MS / 2);
  const bytes = () => page.evaluate(`(${sentBytes})(${connection})`);
  const [from, start] = [await bytes(), performance.now()];
  await sleep(WINDOW_MS);
  return ((await bytes()) - from) * 8 / ((performance.now() - start) / 1000);
}

async function throughServer(url) {
  const [one, other] = [await chromium(), await chromium()];
  const sender = await Participant.join(one, { url, room: 'ramp', index: 0, ...CAMERA });
  await Participant.join(other, { url, room: 'ramp', index: 1, query: '&cam=0&mic=0' });
  const bitrate = await bitrateAfterRamp(sender.page, 'window.switchyard.room.peerConnection');
  await Promise.all([one.close(), other.close()]);
  return bitrate;
}

/** The same camera between two connections of one page, without a server. */
async function peerToPeer(url) {
  const browser = await chromium();
  const page = await browser.newPage();
  await page.evaluateOnNewDocument(installDevices, { index: 0, tone: toneOf(0), picture: PICTURE, ...CAMERA });
  await page.goto(`${url}/?room=none`);
  await page.evaluate(async (maxBitrate) => {
    const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
    a.onicecandidate = ({ candidate }) => b.addIceCandidate(candidate);
    b.onicecandidate = ({ candidate }) => a.addIceCandidate(candidate);
    const [track] = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks();
    a.addTransceiver(track, { sendEncodings: [{ maxBitrate }] });
    await a.setLocalDescription();
    await b.setRemoteDescription(a.localDescription);
    await b.setLocalDescription();
    await a.setRemoteDescription(b.localDescription);
    window.direct = a;
  }, MAX_BITRATE);
  const bitrate = await bitrateAfterRamp(page, 'window.direct');
  await browser.close();
  return bitrate;
}

const server = await startServer();
try {
  await firstFrames(server.url);
  const [through, direct] = [[], []];
  for (let i = 0; i < RAMPS; i++) {
    through.push(Math.round((await throughServer(server.url)) / 1000));
    direct.push(Math.round((await peerToPeer(server.url)) / 1000));
  }
  console.log(`publisher after ${RAMP_MS / 1000} s, kbit/s: ${through} (median ${median(through)}); peer to peer: ${direct} (median ${median(direct)})`);
} finally {
  await server.stop();
}
