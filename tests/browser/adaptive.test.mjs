/** A page says what it shows, sends only what is watched, and tells people why a picture is as it is. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { ridsOf } from './lib/flow.mjs';
import { receive, recordFrames, settingsOf } from './lib/frames.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

/** Chromium needs time to find the bandwidth of the largest layer. */
const RAMP_MS = 60_000;
/** Several times what a page waits before it tells of another size. */
const SETTLED_MS = 500;

const adaptive = scene({ apart: true });

/** The id of somebody's camera track as another page knows it. */
function cameraOf(viewer, publisher) {
  return until('the camera', () =>
    viewer.page.evaluate((id) => {
      const tracks = [...(window.switchyard.room.participants.get(id)?.tracks.values() ?? [])];
      return tracks.find(({ source }) => source === 'camera')?.id;
    }, publisher.id),
  );
}

/** Waits until the last thing that was said of a track fulfils a condition. */
function settled(viewer, track, what, condition) {
  return until(`${viewer.name} to say ${what}`, async () => {
    const [last] = await settingsOf(viewer.page, track);
    return last && condition(last) ? last : { error: 'not yet', last };
  });
}

/** The size of the whole picture of 16:9 that covers the tile, in device pixels. */
function sizeOf(viewer, selector) {
  return viewer.page.evaluate((found) => {
    const { width, height } = document.querySelector(found).getBoundingClientRect();
    const pixels = (length) => Math.ceil(length * devicePixelRatio);
    return { width: pixels(Math.max(width, (height * 16) / 9)), height: pixels(Math.max(height, (width * 9) / 16)) };
  }, selector);
}

/** Runs in the page: says something harmless, so that the socket is known. */
function knowSocket() {
  window.switchyard.room.subscribe('t999').catch(() => undefined);
  return window.testFrames.socket !== null;
}

/** Runs in the page: from now on it does not hear what the server itself finds of its layers, or of something else. */
function hearNoLayers(what = 'published_layers') {
  const { socket } = window.testFrames;
  const { onmessage } = socket;
  socket.onmessage = (event) => event.isTrusted && event.data.includes(what) ? undefined : onmessage.call(socket, event);
}

for (const kind of ['chromium', 'firefox']) {
  adaptive.test(`${kind} tells how large a picture is, that it is hidden, and that it is seen again`, async (t) => {
    const room = `shown-${kind}`;
    const publisher = await adaptive.join(await adaptive.browser(), room, 0);
    const viewer = await adaptive.join(await adaptive.browser(kind), room, 1);
    await viewer.sees(publisher);
    await viewer.page.evaluate(recordFrames);
    const track = await cameraOf(viewer, publisher);
    const tile = viewer.tileOf(publisher);

    await viewer.page.setViewport({ width: 500, height: 400 });
    // The page lays its tiles out more than once.
    await until('the small size to be told', async () => {
      const [{ width, height } = {}] = await settingsOf(viewer.page, track);
      const size = await sizeOf(viewer, tile);
      return (width < 600 && width === size.width && height === size.height) || { error: { width, height, size } };
    });

    await viewer.page.evaluate((selector) => (document.querySelector(selector).style.display = 'none'), tile);
    await settled(viewer, track, 'that it is hidden', ({ paused }) => paused === true);

    const shownAt = await viewer.page.evaluate((selector) => {
      document.querySelector(selector).style.display = '';
      return performance.now();
    }, tile);
    const seen = await settled(viewer, track, 'that it is seen', ({ paused }) => paused === false);
    t.diagnostic(`${kind}: told ${Math.round(seen.at - shownAt)} ms after the picture appeared`);

    // Of several elements the largest counts; of the rest nobody need know.
    const extra = await viewer.page.evaluate((id) => {
      const element = document.createElement('div');
      element.style = 'position: fixed; inset: 0; pointer-events: none';
      document.body.append(element);
      window.testDetach = window.switchyard.room.attach(id, element, { priority: 'high', fps: 5 });
      return { width: Math.ceil(innerWidth * devicePixelRatio) };
    }, track);
    await settled(viewer, track, 'the largest size', ({ width, priority, fps }) => width === extra.width && priority === 'high' && fps === undefined);
    const shows = (display) => viewer.page.evaluate((selector, value) => (document.querySelector(selector).style.display = value), tile, display);
    await shows('none');
    await settled(viewer, track, 'that nobody needs all frames', ({ width, fps }) => width === extra.width && fps === 5);
    await shows('');
    await settled(viewer, track, 'that the tile does', ({ width, fps }) => width === extra.width && fps === undefined);
    await viewer.page.evaluate(() => window.testDetach());
    await settled(viewer, track, 'the size of the tile', ({ width, priority }) => width === seen.width && priority === 'normal');

    const frames = (await settingsOf(viewer.page, track)).length;
    assert.ok(frames < 30, `${frames} messages`);
  });

  adaptive.test(`${kind} wants a picture that its tile crops as large as the whole of it is`, async () => {
    const room = `cropped-${kind}`;
    const publisher = await adaptive.join(await adaptive.browser(), room, 0, { width: 1280, height: 720 });
    const viewer = await adaptive.join(await adaptive.browser(kind), room, 1);
    await viewer.sees(publisher);
    const { page } = viewer;
    await page.evaluate(recordFrames);
    const track = await cameraOf(viewer, publisher);
    await page.setViewport({ width: 1200, height: 1000 });
    // The page lays its tiles out once more, and this test does so after it.
    await settled(viewer, track, 'the size in the new window', ({ height }) => height > 800);
    const shows = (style) => page.evaluate((selector, text) => (document.querySelector(selector).style = text), viewer.tileOf(publisher), style);
    const wants = (what, size) => settled(viewer, track, what, ({ width, height }) => width === size[0] && height === size[1]);
    await shows('width: 585px; height: 780px');
    await wants('what covers it', [1387, 780]);
    // The layer of 640 is wide enough, but not high enough. What the server makes of it is the same for all.
    if (kind === 'chromium') await viewer.sees(publisher, { width: 1280, deadlineMs: RAMP_MS });
    await shows('width: 900px; height: 300px');
    await wants('what covers it', [900, 507]);

    // The layers of a camera need not be of the same shape to a pixel; of a picture that shows all of itself the element counts.
    const resized = (width, height, fit) =>
      page.evaluate(
        (id, size, objectFit) => {
          const video = document.querySelector('#test-video') ?? document.body.appendChild(document.createElement('video'));
          if (!video.id) window.switchyard.room.attach(id, video);
          Object.assign(video, { id: 'test-video' });
          Object.assign(video.style, { position: 'fixed', inset: '0', width: '585px', height: '780px', objectFit });
          Object.defineProperties(video, { videoWidth: { value: size[0], configurable: true }, videoHeight: { value: size[1], configurable: true } });
          video.dispatchEvent(new Event('resize'));
        },
        track,
        [width, height],
        fit,
      );
    await shows('display: none');
    await resized(683, 384, 'cover');
    await wants('what covers it', [1387, 780]);
    const { length } = await settingsOf(page, track);
    await resized(341, 192, 'cover');
    await pause(SETTLED_MS);
    assert.equal((await settingsOf(page, track)).length, length, 'another layer is no reason to want another');
    await resized(341, 192, 'contain');
    await wants('the size of the element', [585, 780]);
    await resized(192, 341, 'cover');
    // 9:16, but for the steps in which shapes are told apart.
    await wants('what covers it of an upright picture', [585, 1053]);
    // Its large picture would take the processors of what follows.
    await Promise.all([publisher, viewer].map((one) => one.close()));
  });

  adaptive.test(`${kind} sends the layers that somebody watches, and no others`, async (t) => {
    const publisher = await adaptive.join(await adaptive.browser(kind), `layers-${kind}`, 0, { width: 1280, height: 720 });
    const { page } = publisher;
    await page.evaluate(recordFrames);
    const track = await until('the camera to be published', () => page.evaluate(() => [...window.switchyard.room.localTracks].find(({ source, id }) => source === 'camera' && id)?.id));
    // Says something harmless, so that the socket is known.
    await page.evaluate(() => window.switchyard.room.subscribe('t999').catch(() => undefined));
    const becomes = (layers) =>
      until(`${layers} to be sent`, async () => {
        const sent = await ridsOf(publisher);
        return JSON.stringify(sent.sort()) === JSON.stringify([...layers].sort()) ? { sent } : { error: sent };
      });
    // What the server itself finds of an empty room would come in between.
    await page.evaluate(hearNoLayers);
    for (const layers of [['q'], [], ['q', 'h'], ['q', 'h', 'f']]) {
      await receive(page, { type: 'published_layers', track, layers });
      await becomes(layers);
    }
    // Many at once: one change at a time, and the last one holds.
    await page.evaluate((id) => {
      const all = [['q'], [], ['q', 'h', 'f'], ['h']];
      for (let turn = 0; turn < 40; turn++) {
        const data = JSON.stringify({ type: 'published_layers', track: id, layers: all[turn % all.length] });
        window.testFrames.socket.dispatchEvent(new MessageEvent('message', { data }));
      }
    }, track);
    await becomes(['h']);
    const took = await page.evaluate(async (id) => {
      const { transceiver } = [...window.switchyard.room.localTracks].find((local) => local.id === id);
      const { setParameters } = transceiver.sender;
      const started = performance.now();
      const called = new Promise((resolve) => {
        transceiver.sender.setParameters = (parameters) => {
          resolve(performance.now() - started);
          return setParameters.call(transceiver.sender, parameters);
        };
      });
      const data = JSON.stringify({ type: 'published_layers', track: id, layers: ['q'] });
      window.testFrames.socket.dispatchEvent(new MessageEvent('message', { data }));
      return called;
    }, track);
    await becomes(['q']);
    t.diagnostic(`${kind}: parameters were set ${took.toFixed(1)} ms after the message`);
    assert.ok(took < 50);
    assert.deepEqual(publisher.complaints.filter((text) => text.includes('layers could not be switched')), []);
  });
}

for (const kind of /** @type {const} */ (['chromium', 'firefox'])) {
  adaptive.test(`${kind} sends no more of one layer than viewers have room for, and all of it again afterwards`, async () => {
    const publisher = await adaptive.join(await adaptive.browser(kind), `most-${kind}`, 0, { query: '&cam=0&mic=0' });
    const { page } = publisher;
    await page.evaluate(recordFrames);
    await publisher.click('toggle-screen');
    const track = await until('the screen to be published', () => page.evaluate(() => [...window.switchyard.room.localTracks].find(({ source }) => source === 'screen_share')?.id));
    await until('the socket', () => page.evaluate(knowSocket));
    await page.evaluate(hearNoLayers);
    const state = () =>
      page.evaluate((id) => {
        const local = [...window.switchyard.room.localTracks].find((one) => one.id === id);
        return { most: local.transceiver.sender.getParameters().encodings[0].maxBitrate ?? null, capped: local.isCapped };
      }, track);
    const own = await state();
    assert.equal(own.capped, false);
    const becomes = (wanted) => until(JSON.stringify(wanted), async () => {
      const now = await state();
      return (now.most === wanted.most && now.capped === wanted.capped) || { error: now };
    }, 10_000);
    const told = (rest) => receive(page, { type: 'published_layers', track, layers: [''], ...rest });
    await told({ max_bitrate: 300_000 });
    await becomes({ most: 300_000, capped: true });
    await told({ max_bitrate: 900_000_000 });
    await becomes({ most: own.most, capped: true });
    await told({ max_bitrate: 200_000 });
    await becomes({ most: 200_000, capped: true });
    // Something else changed the parameters in between.
    await page.evaluate((id) => {
      const { sender } = [...window.switchyard.room.localTracks].find((one) => one.id === id).transceiver;
      const { setParameters } = sender;
      sender.setParameters = () => {
        sender.setParameters = setParameters;
        return Promise.reject(new DOMException('changed', 'InvalidStateError'));
      };
    }, track);
    await told({});
    await becomes(own);
    await publisher.close();
  });
}

// Of a picture of 640 by 360 Chromium makes two, whatever the mode says.
for (const [codec, width] of [['vp9', 1280], ['av1', 1280], ['vp9', 640]]) {
  adaptive.test(`chromium sends as many spatial layers of ${codec} as viewers watch, each as large as before (${width} wide)`, async () => {
    const query = `&mic=0&codec=${codec}&mode=L3T3_KEY`;
    const publisher = await adaptive.join(await adaptive.browser(), `spatial-${codec}-${width}`, 0, { width, height: (width * 9) / 16, query });
    const { page } = publisher;
    await page.evaluate(recordFrames);
    const track = await until('the camera to be published', () => page.evaluate(() => [...window.switchyard.room.localTracks].find(({ source, id }) => source === 'camera' && id)?.id));
    await until('the socket', () => page.evaluate(knowSocket));
    await page.evaluate(hearNoLayers);
    const state = () =>
      page.evaluate(async (id) => {
        const { sender } = [...window.switchyard.room.localTracks].find((local) => local.id === id).transceiver;
        const [{ active, scalabilityMode, scaleResolutionDownBy }] = sender.getParameters().encodings;
        const { frameWidth } = [...(await sender.getStats()).values()].find(({ type }) => type === 'outbound-rtp');
        return { active, mode: scalabilityMode, scale: scaleResolutionDownBy, width: frameWidth };
      }, track);
    const becomes = (wanted) =>
      until(JSON.stringify(wanted), async () => {
        const now = await state();
        return JSON.stringify(now) === JSON.stringify(wanted) || { error: now };
      }, 10_000);
    const told = (layers, rest) => receive(page, { type: 'published_layers', track, layers, ...rest });
    const whole = { active: true, mode: 'L3T3_KEY', scale: 1, width };
    const most = () => page.evaluate((id) => [...window.switchyard.room.localTracks].find((local) => local.id === id).transceiver.sender.getParameters().encodings[0].maxBitrate, track);
    const lowest = { active: true, mode: 'L1T3', scale: width / 320, width: 320 };
    // Somebody must watch for anything to be sent at first.
    await told([''], {});
    await becomes(whole);
    const own = await most();
    await told([''], { max_bitrate: 300_000 });
    await until('the limit', async () => (await most()) === 300_000 || { error: await most() });
    await told([''], { max_bitrate: 300_000, spatial_layers: 1 });
    await becomes(lowest);
    await told([''], { spatial_layers: 2 });
    await becomes(width === 640 ? whole : { active: true, mode: 'L2T3_KEY', scale: 2, width: 640 });
    await told([''], { spatial_layers: 1 });
    await becomes(lowest);
    // At rest it stays as it is.
    await told([], {});
    await becomes({ ...lowest, active: false });
    await told([''], { spatial_layers: 9 });
    await becomes(whole);
    await told([''], { spatial_layers: 1 });
    await told([''], {});
    await becomes(whole);
    // A limit that was there before the first layer rested is not taken for the own one.
    assert.equal(await most(), own);
    assert.deepEqual(publisher.complaints.filter((text) => text.includes('layers could not be switched')), []);
    await publisher.close();
  });
}

adaptive.test('a tile says to whoever looks why its picture is as it is', async () => {
  const publisher = await adaptive.join(await adaptive.browser(), 'reasons', 0);
  const viewer = await adaptive.join(await adaptive.browser(), 'reasons', 1);
  await viewer.sees(publisher);
  const { page } = viewer;
  await page.evaluate(recordFrames);
  await page.evaluate(() => window.switchyard.room.subscribe('t999').catch(() => undefined));
  const track = await cameraOf(viewer, publisher);
  const tile = viewer.tileOf(publisher);
  const layer = (width, height) => ({ rid: 'h', spatial: 0, temporal: 2, width, height });
  const line = (status) =>
    page.evaluate(
      (selector, data) => {
        window.testFrames.socket.dispatchEvent(new MessageEvent('message', { data }));
        const stop = document.querySelector(`${selector} .pin`);
        return document.getElementById(stop.getAttribute('aria-describedby')).textContent;
      },
      tile,
      JSON.stringify({ type: 'track_status', track, wanted: layer(1280, 720), shown: layer(640, 360), needed: 1_700_000, available: 600_000, ...status }),
    );
  const cases = [
    [{ limit: 'bandwidth' }, '640×360 of 1280×720 · Your connection has 0.6 of the 1.7 Mbit/s that this needs'],
    [{ limit: 'viewport', wanted: layer(640, 360) }, '640×360 · Shown small'],
    [{ limit: 'publisher_cpu' }, '640×360 of 1280×720 · P0’s computer cannot keep up'],
    [{ limit: 'publisher_not_sending' }, '640×360 of 1280×720 · P0 does not send more'],
    [{ limit: 'waiting_keyframe' }, '640×360 of 1280×720 · A better picture is on its way'],
    [{ limit: 'none', shown: layer(1280, 720) }, '1280×720 · The best there is'],
  ];
  for (const [status, text] of cases) assert.equal(await line(status), text);

  const opacity = () => page.evaluate((selector) => getComputedStyle(document.querySelector(`${selector} .quality`)).opacity, tile);
  await page.mouse.move(1, 1);
  await until('the line to be out of the way', async () => (await opacity()) === '0');
  await page.hover(tile);
  await until('the line to be there for the mouse', async () => (await opacity()) === '1');
  await page.mouse.move(1, 1);
  await until('the line to be gone again', async () => (await opacity()) === '0');
  const focused = () => page.evaluate((selector) => document.activeElement?.matches(`${selector} .pin`) ?? false, tile);
  // From the title of the room, where the focus is on entry, all controls come before the pictures.
  for (let presses = 0; presses < 40 && !(await focused()); presses++) await page.keyboard.press('Tab');
  await until('the line to be there for the keyboard', async () => (await focused()) && (await opacity()) === '1');
});

adaptive.test('what was said of a picture counts no more while it is muted', async () => {
  const publisher = await adaptive.join(await adaptive.browser(), 'muted', 0);
  const viewer = await adaptive.join(await adaptive.browser(), 'muted', 1);
  await viewer.sees(publisher);
  const { page } = viewer;
  await page.evaluate(recordFrames);
  await until('the socket', () => page.evaluate(knowSocket));
  await page.evaluate(hearNoLayers, 'track_status');
  const track = await cameraOf(viewer, publisher);
  const layer = (width, height) => ({ rid: 'h', spatial: 0, temporal: 2, width, height });
  const status = { wanted: layer(1280, 720), shown: layer(640, 360), limit: 'bandwidth', needed: 1_700_000, available: 600_000 };
  const tell = (message) => receive(page, { track, ...message });
  const seen = () =>
    page.evaluate(
      (owner, id, selector) => ({
        status: window.switchyard.room.participants.get(owner).tracks.get(id).status,
        line: document.querySelector(`${selector} .quality`).textContent,
        events: window.testStatuses,
      }),
      publisher.id,
      track,
      viewer.tileOf(publisher),
    );
  const toolbar = (text) => until(`the toolbar to say ${text}`, () => page.$eval('#open-network', ({ ariaLabel }, wanted) => ariaLabel === `Your connection: ${wanted}` || { error: ariaLabel }, text), 20_000);
  await page.evaluate(() => {
    window.testStatuses = 0;
    window.switchyard.room.on('trackstatus', () => (window.testStatuses += 1));
  });
  await tell({ type: 'track_status', ...status });
  assert.deepEqual((await seen()).status, status);
  await toolbar('It has 600 kbit/s of the 1.7 Mbit/s that the pictures need.');

  await tell({ type: 'track_muted', muted: true });
  const { events } = await seen();
  // What a server says nevertheless is what it has said when the picture comes back.
  const late = { ...status, needed: 1_600_000 };
  await tell({ type: 'track_status', ...late });
  assert.deepEqual(await seen(), { status: null, line: '', events });
  await toolbar('It carries everything.');

  await tell({ type: 'track_muted', muted: false });
  assert.deepEqual((await seen()).status, late);
});
