/** Who comes late to a stream whose publisher sends keyframes rarely, and not when asked: the picture at once, and soon no further behind than the first viewer. */
import assert from 'node:assert/strict';
import { emptyPage, seesMoving, watch } from './lib/plain.mjs';
import { OPUS, ffmpeg } from './lib/programs.mjs';
import { scene } from './lib/scene.mjs';
import { PICTURE, readPicture } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const PUBLISHER = 6;
const FPS = 15;
/** A keyframe every 10 s. */
const RARE = ['-c:v', 'libx264', '-profile:v', 'baseline', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', 10 * FPS, '-sc_threshold', '0', '-bf', '0', '-pix_fmt', 'yuv420p'];
/** A machine that does other work takes longer for session and decoder; without the cache it would be five seconds on average. */
const FIRST_FRAME_MS_MAX = 2500;
const CAUGHT_UP_MS = 3000;

const late = scene();

/** Runs in the page after `watch`: milliseconds from `since` to the first frame. */
async function firstFrame(since) {
  const out = document.querySelector('#out');
  if (out.getVideoPlaybackQuality().totalVideoFrames === 0) await new Promise((resolve) => out.requestVideoFrameCallback(resolve));
  return performance.now() - since;
}

/** Frames that the second page is behind the first, the median of some looks. */
async function lag(first, second) {
  const behind = [];
  for (let look = 0; look < 15; look++) {
    const [a, b] = await Promise.all([first, second].map((page) => page.evaluate(readPicture, '#out', PICTURE)));
    if (a.error || b.error) continue;
    behind.push(((a.counter - b.counter + 1536) % 1024) - 512);
  }
  assert.ok(behind.length >= 8, `${behind.length} readable pictures of 15`);
  return behind.sort((x, y) => x - y)[Math.floor(behind.length / 2)];
}

late.test('late viewers of FFmpeg have a picture at once, and after three seconds the same one as the first', async (t) => {
  const browser = await late.browser();
  const page = () => emptyPage(browser, late.server.url, 0);
  const program = ffmpeg(PUBLISHER, [...RARE, ...OPUS, '-f', 'whip', `${late.server.url}/whip/late?identity=cam`]);
  // FFmpeg sends its first half second in a burst, and whoever watches that stays behind for long. So the first viewer comes a little later.
  const first = await page();
  await until('a session', async () => (await first.evaluate(watch, '/whep/late')).status === 201 || { error: program.errors });
  await seesMoving(first, PUBLISHER);
  await first.reload();
  assert.equal((await first.evaluate(watch, '/whep/late')).error, undefined);
  await seesMoving(first, PUBLISHER);
  const times = [];
  for (const age of [2.3, 4.1, 7.9]) {
    const begun = performance.now();
    await until('the moment', () => performance.now() - begun > age * 1000);
    const viewer = await page();
    const since = await viewer.evaluate(() => performance.now());
    assert.equal((await viewer.evaluate(watch, '/whep/late')).error, undefined);
    const ms = await viewer.evaluate(firstFrame, since);
    assert.ok(ms < FIRST_FRAME_MS_MAX, `the first frame after ${ms} ms`);
    const caught = performance.now();
    await until('three seconds', () => performance.now() - caught > CAUGHT_UP_MS);
    const frames = await lag(first, viewer);
    times.push(`${Math.round(ms)} ms (then ${Math.round((frames * 1000) / FPS)} behind)`);
    // 100 ms are one frame and a half.
    assert.ok(frames <= 1, `${frames} frames behind the first viewer`);
    await viewer.close();
  }
  t.diagnostic(`late viewers of FFmpeg have their first frame after ${times.join(', ')}`);
  await program.end();
});
