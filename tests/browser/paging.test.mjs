/** A subscriber with one slot looks through a room: the picture it asks for is there in no time, and nothing is negotiated for it. */
import assert from 'node:assert/strict';
import { emptyPage } from './lib/plain.mjs';
import { recordFrames } from './lib/frames.mjs';
import { scene } from './lib/scene.mjs';
import { PICTURE, readPicture } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const PEOPLE = 4;
/** From the wish to the first frame of the other picture: the goal, and for the slowest on a machine that takes its time to decode. */
const [PICTURE_MS_GOAL, PICTURE_MS_MAX] = [300, 1000];

const paging = scene();

/** Runs in the page: joins with one slot of each kind and plays whatever is in it. */
async function enter(room) {
  const { connect } = await import('/client/index.js');
  const video = Object.assign(document.createElement('video'), { id: 'shown', muted: true, autoplay: true });
  video.style = 'width: 640px; height: 360px';
  document.body.append(video);
  const joined = await connect(`ws://${location.host}/ws`, { room, name: 'Viewer', maxVideo: 1, maxAudio: 1 });
  joined.on('tracksubscribed', ({ track, stream }) => {
    if (track.kind === 'video') video.srcObject = stream;
  });
  window.joined = joined;
  for (const { tracks } of joined.participants.values()) for (const track of tracks.values()) if (track.stream && track.kind === 'video') video.srcObject = track.stream;
}

/** Runs in the page: turns to somebody's camera; resolves with how long it took until that person's colour was on screen. */
async function turnTo(name, index, colours) {
  const video = document.querySelector('#shown');
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const participant = [...window.joined.participants.values()].find((one) => one.name === name);
  const camera = [...participant.tracks.values()].find(({ source }) => source === 'camera');
  window.detach?.();
  const started = performance.now();
  window.detach = window.joined.attach(camera.id, video);
  for (;;) {
    await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    canvas.drawImage(video, 0, 0, video.videoWidth, video.videoHeight / 2, 0, 0, 1, 1);
    const seen = canvas.getImageData(0, 0, 1, 1).data;
    const distance = (colour) => Math.hypot(...colour.map((value, channel) => value - seen[channel]));
    const nearest = colours.reduce((best, colour, at) => (distance(colour) < distance(colours[best]) ? at : best), 0);
    if (nearest === index) return performance.now() - started;
  }
}

paging.test('one slot shows whoever is looked at, at once', async (t) => {
  const browser = await paging.browser();
  for (let index = 0; index < PEOPLE; index++) await paging.join(browser, 'paging', index, { fps: 15, query: '&mic=0' });
  const page = await emptyPage(await paging.browser(), paging.server.url, 7);
  await page.evaluate(enter, 'paging');
  await until('the first picture', () => page.evaluate(readPicture, '#shown', PICTURE));
  await page.evaluate(recordFrames);
  const times = [];
  for (const index of [2, 0, 3, 1, 2, 3]) {
    const ms = await page.evaluate(turnTo, `P${index}`, index, PICTURE.colours);
    const seen = await until('a readable picture', () => page.evaluate(readPicture, '#shown', PICTURE));
    assert.equal(seen.index, index);
    times.push(Math.round(ms));
  }
  t.diagnostic(`turned to another picture in ${times.join(', ')} ms`);
  const sorted = times.toSorted((one, other) => one - other);
  assert.ok(sorted[times.length / 2] < PICTURE_MS_GOAL && sorted.at(-1) < PICTURE_MS_MAX, `${times}`);
  const offers = await page.evaluate(() => window.testFrames.sent.filter(({ type }) => type === 'offer').length);
  assert.equal(offers, 0);
});
