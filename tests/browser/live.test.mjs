/** The pages "Go live" and "Watch": a stream from the one is seen at the other, through everything that happens to it. */
import assert from 'node:assert/strict';
import { afterEach } from 'node:test';
import { scene } from './lib/scene.mjs';
import { OUT, startServer } from './lib/server.mjs';
import { PICTURE, colourOf, readPicture, readTone, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

/** Chromium needs time to find the bandwidth of the largest layer. */
const RAMP_MS = 60_000;
const SIZES = [[360, 740], [1920, 1080]];
const CAMERA = { width: 1280, height: 720 };

const live = scene({ apart: true });
const HOST = 2;

// Streams that go on would take the next test's processor time.
afterEach(async () => {
  live.people.length = 0;
  await Promise.all(live.browsers.splice(0).map((browser) => browser.close()));
});

const state = (person) => person.page.evaluate(() => document.body.dataset.state);
const text = (person, id) => person.page.evaluate((name) => document.getElementById(name).textContent, id);
const look = (person) => person.page.evaluate(readPicture, '#picture', PICTURE);

/** Waits until the page is in this state. */
const reaches = (person, wanted, deadlineMs) =>
  until(`${person.name} to be ${wanted}`, async () => {
    const now = await state(person);
    return now === wanted ? true : { error: now, text: await person.page.evaluate(() => document.body.innerText.slice(0, 400)), complaints: person.complaints };
  }, deadlineMs);

/** Waits until the host's picture plays and moves; with `width`, in this layer. */
async function plays(viewer, { index = HOST, device = 'camera', width } = {}) {
  const right = async () => {
    const seen = await look(viewer);
    if (seen.error) return seen;
    const ours = seen.index === index && seen.device === device && seen.colour === colourOf(index, device);
    return ours && (width === undefined || seen.width === width) ? seen : { error: 'another picture', seen };
  };
  const first = await until(`${viewer.name} to see the stream`, right, RAMP_MS);
  await until(`${viewer.name} to see it move`, async () => {
    const seen = await right();
    return seen.error || seen.counter !== first.counter ? seen : { error: 'frozen', seen };
  });
  await reaches(viewer, 'playing');
}

/** Pictures of the page as people see it: small and large, light and dark. */
async function shoot(person, name) {
  for (const scheme of ['light', 'dark']) {
    await person.page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    for (const [width, height] of SIZES) {
      await person.page.setViewport({ width, height });
      await person.page.screenshot({ path: `${OUT}${name}-${width}-${scheme}.png` });
    }
  }
  await person.page.setViewport({ width: 1280, height: 800 });
}

/** Goes live by the page's own button. */
async function goLive(browser, room, options = {}) {
  const host = await live.open(browser, `/live?room=${room}&name=Ada`, { index: HOST, ...CAMERA, ...options });
  await until('the preview', () => host.page.evaluate(readPicture, '#preview-video', PICTURE));
  await host.page.click('#go-live');
  await reaches(host, 'live');
  return host;
}

live.test('the first page leads to all others, and a stream is watched in Chromium and in Firefox', async () => {
  const chromium = await live.browser();
  const home = await live.open(chromium, '/?room=stage', { index: 0 });
  const pages = await home.page.$$eval('#pages a', (links) => links.map((link) => new URL(link.href).pathname + new URL(link.href).search));
  assert.deepEqual(pages, ['/?room=stage', '/live?room=stage', '/watch?room=stage', '/direct?room=stage', '/operator']);
  await shoot(home, 'home');
  await home.close();

  const host = await live.open(chromium, '/live?room=stage&name=Ada', { index: HOST, ...CAMERA });
  await until('the preview', () => host.page.evaluate(readPicture, '#preview-video', PICTURE));
  await shoot(host, 'live-setup');
  await host.page.click('#go-live');
  await reaches(host, 'live');
  assert.deepEqual(await host.page.$eval('#languages', ({ disabled, title }) => [disabled, title]), [true, 'Another language ends the stream: choose it before or after.']);
  const link = await host.page.$eval('#watch-link', ({ value }) => value);
  assert.equal(link, `${live.server.url}/watch?room=stage`);

  const viewers = [await live.open(chromium, '/watch?room=stage', { index: 5 }), await live.open(await live.browser('firefox'), '/watch?room=stage', { index: 6 })];
  for (const viewer of viewers) {
    await plays(viewer);
    await until(`${viewer.name} to hear the host`, async () => {
      const heard = await viewer.page.evaluate(readTone, '#picture');
      return Math.abs(heard.hertz - toneOf(HOST)) < 20 && heard.level > -50 ? heard : { error: heard };
    });
    await until('the delay', async () => {
      const delay = await text(viewer, 'delay');
      return /^0\.\d s behind$/.test(delay) ? { delay } : { error: delay };
    });
  }
  for (const person of [host, ...viewers]) {
    await until(`${person.name} to know of two viewers`, async () => {
      const count = (await text(person, 'viewers')) + (await text(person, 'viewers-label'));
      return count === '2 viewers' ? true : { error: count };
    });
  }
  await until('figures', async () => {
    const figures = await host.page.$$eval('#figures dd', (cells) => cells.map(({ textContent }) => textContent));
    return /[Mk]bit\/s/.test(figures[0]) && /^\d+×\d+$/.test(figures[1]) && figures[5] === 'VP8' ? { figures } : { error: figures };
  });
  assert.match(await text(host, 'health-word'), /^(Good|Limited by (CPU|bandwidth))$/);
  await shoot(host, 'live-on-air');
  await shoot(viewers[0], 'watch-playing');
  await viewers[1].screenshot('watch-playing-firefox');

  // What is sent can be another thing at any time, or nothing.
  await host.page.click('#toggle-screen');
  await plays(viewers[0], { device: 'screen' });
  await host.page.click('#toggle-screen');
  await until('the card', async () => ((await look(viewers[0])).error ?? '').startsWith('no participant'));
  await shoot(host, 'live-camera-off');
  await shoot(viewers[0], 'watch-camera-off');
  await host.page.click('#toggle-camera');
  for (const viewer of viewers) await plays(viewer);

  await host.page.click('#stop');
  await reaches(host, 'setup');
  assert.deepEqual(await host.page.$eval('#languages', ({ disabled, title }) => [disabled, title]), [false, '']);
  assert.match(await text(host, 'notice'), /^Your stream has ended\. It was live for \d+:\d\d, with 2 viewers at most\.$/);
  for (const viewer of viewers) await reaches(viewer, 'paused', 5000);
});

live.test('the quality menu switches layers', async () => {
  const chromium = await live.browser();
  await goLive(chromium, 'layers');
  const viewer = await live.open(chromium, '/watch?room=layers', { index: 5 });
  await plays(viewer, { width: 1280 });
  const options = await until('the menu', async () => {
    const found = await viewer.page.$$eval('#quality:not([hidden]) option', (all) => all.map(({ value, text: shown }) => `${value}: ${shown}`));
    return found.length === 4 && /[Mk]bit\/s/.test(found[3]) ? { found } : { error: found };
  });
  assert.ok(await viewer.page.$eval('#quality', (list) => list.checkVisibility({ opacityProperty: true })), 'it can be seen');
  for (const [index, name] of [': Auto', 'f: High', 'h: Medium', 'q: Low'].entries()) assert.ok(options.found[index].startsWith(name), options.found[index]);
  for (const [rid, width] of [['q', 320], ['h', 640], ['', 1280]]) {
    await viewer.page.select('#quality', rid);
    await plays(viewer, { width });
    const expected = `${width}×${(width * 9) / 16} · ${rid ? 'Chosen by hand' : 'The best there is'}`;
    await until('why it is not more', async () => {
      const said = await viewer.page.$eval('#quality', ({ title }) => title);
      return said === expected || { error: said };
    });
  }
  assert.ok(await viewer.page.$eval('#reason', ({ hidden }) => hidden), 'nothing is wrong');
  assert.match(await viewer.page.$eval('#quality option', ({ textContent }) => textContent), /^Auto \(720p\)$/);
});

/** Bytes of the picture that the host has sent. */
const sentBy = (host) =>
  host.page.evaluate(async () => {
    const senders = window.switchyard.publication.connection.getSenders();
    const reports = await Promise.all(senders.filter(({ track }) => track?.kind === 'video').map((sender) => sender.getStats()));
    const sent = reports.flatMap((report) => [...report.values()]).filter(({ type }) => type === 'outbound-rtp');
    return sent.reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  });

live.test('a picture is sent as long as somebody watches it', async () => {
  const chromium = await live.browser();
  const host = await goLive(chromium, 'rests');
  const rests = () =>
    until('the picture to rest', async () => {
      const before = await sentBy(host);
      await new Promise((resolve) => setTimeout(resolve, 1000));
      const bytes = (await sentBy(host)) - before;
      return bytes === 0 || { error: bytes };
    });
  await rests();
  await until('the page to say so', async () => (await text(host, 'health-word')) === 'Ready' || { error: await text(host, 'health-word') });
  await shoot(host, 'live-unwatched');
  const viewer = await live.open(chromium, '/watch?room=rests', { index: 5 });
  await plays(viewer, { width: 1280 });
  await until('the lower layers to rest', async () => {
    const layers = await host.page.evaluate(() => window.switchyard.publication.watchedLayers);
    return layers?.join() === 'f' || { error: layers };
  });
  // They can be chosen all the same.
  await new Promise((resolve) => setTimeout(resolve, 5000));
  assert.equal(await viewer.page.$$eval('#quality option:disabled', ({ length }) => length), 0);
  await viewer.page.select('#quality', 'q');
  await plays(viewer, { width: 320 });
  await viewer.close();
  await rests();
  await host.close();
});

/** Runs in the page, after `readTone`: how loud this frequency is, in dBFS. */
function levelAt(hertz) {
  const [analyser] = [...window.ears.nodes.values()].slice(-1);
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const bin = Math.round((hertz * analyser.fftSize) / analyser.context.sampleRate);
  return Math.max(-200, ...bins.slice(bin - 1, bin + 2));
}

/** Runs in the page: screens are shared with a tone of their own from now on, louder than any microphone. */
function addScreenSound(hertz) {
  const { getDisplayMedia } = navigator.mediaDevices;
  navigator.mediaDevices.getDisplayMedia = async () => {
    const stream = await getDisplayMedia();
    const context = new AudioContext();
    const oscillator = new OscillatorNode(context, { frequency: hertz });
    const destination = context.createMediaStreamDestination();
    oscillator.connect(destination);
    oscillator.start();
    stream.addTrack(destination.stream.getAudioTracks()[0]);
    return stream;
  };
}

live.test('Firefox goes live, and a screen is sent with its sound and the microphone’s', async () => {
  const host = await goLive(await live.browser('firefox'), 'firefox');
  const viewer = await live.open(await live.browser(), '/watch?room=firefox', { index: 5 });
  await plays(viewer);
  const hears = (hertz) =>
    until(`${hertz} Hz`, async () => {
      const heard = await viewer.page.evaluate(readTone, '#picture');
      return Math.abs(heard.hertz - hertz) < 20 && heard.level > -50 ? heard : { error: heard };
    });
  await hears(toneOf(HOST));
  await host.page.evaluate(addScreenSound, toneOf(7));
  await host.page.click('#toggle-screen');
  await plays(viewer, { device: 'screen' });
  await hears(toneOf(7));
  await until('the microphone in it', async () => {
    const level = await viewer.page.evaluate(levelAt, toneOf(HOST));
    return level > -50 ? { level } : { error: level };
  });
  await host.page.click('#toggle-screen');
  await hears(toneOf(HOST));
});

live.test('the delay is the one that there is', async (t) => {
  const chromium = await live.browser();
  const host = await goLive(chromium, 'delay', { width: 640, height: 360 });
  const viewer = await live.open(chromium, '/watch?room=delay', { index: 5 });
  await plays(viewer);
  await viewer.page.evaluate(() => {
    for (const receiver of window.switchyard.viewer.connection.getReceivers()) receiver.jitterBufferTarget = 1200;
  });
  // Both grow, and pass each other; in the end they stay together.
  let together = 0;
  const both = await until('a long delay', async () => {
    const shown = Number.parseFloat(await text(viewer, 'delay'));
    const [sent, seen] = await Promise.all([host.page.evaluate(readPicture, '#preview-video', PICTURE), look(viewer)]);
    const seconds = ((sent.counter - seen.counter + 1024) % 1024) / 15;
    together = seconds > 1 && Math.abs(seconds - shown) < 0.3 ? together + 1 : 0;
    return together >= 20 ? { seconds, shown } : { error: 'not the same', seconds, shown };
  });
  t.diagnostic(`${both.shown} s shown, ${both.seconds.toFixed(2)} s between the pictures`);
});

live.test('a page waits for the stream, and a publisher who is killed and comes back is seen again without a reload', async () => {
  const chromium = await live.browser();
  const viewer = await live.open(chromium, '/watch?room=later', { index: 5 });
  await viewer.page.evaluate(() => (window.kept = true));
  await reaches(viewer, 'waiting');
  await shoot(viewer, 'watch-waiting');
  const doomed = await live.browser();
  await goLive(doomed, 'later');
  await plays(viewer);
  doomed.process().kill('SIGKILL');
  await reaches(viewer, 'paused', 8000);
  assert.equal(await text(viewer, 'curtain-title'), 'The stream paused');
  await shoot(viewer, 'watch-paused');
  // A browser that is new knows nothing of the identity: the one that is lost gives way.
  await goLive(await live.browser(), 'later');
  await plays(viewer);
  assert.equal(await viewer.page.evaluate(() => window.kept), true);
});

live.test('keys play, mute, turn the volume and fill the screen', async () => {
  const chromium = await live.browser();
  await goLive(chromium, 'keys', { width: 640, height: 360 });
  const viewer = await live.open(chromium, '/watch?room=keys', { index: 5 });
  await plays(viewer);
  const player = () =>
    viewer.page.evaluate(() => {
      const { paused, muted, volume } = document.getElementById('picture');
      return { paused, muted, volume: Math.round(volume * 100), full: document.fullscreenElement?.id ?? '', small: document.pictureInPictureElement?.id ?? '' };
    });
  const press = (key, what, right) =>
    until(what, async () => {
      const now = await player();
      return right(now) ? true : { error: now };
    }).catch((error) => assert.fail(`${key}: ${error.message}`));
  for (const [key, what, right] of [
    ['k', 'a pause', ({ paused }) => paused],
    [' ', 'playing on', ({ paused }) => !paused],
    ['m', 'silence', ({ muted }) => muted],
    ['m', 'sound', ({ muted }) => !muted],
    ['ArrowDown', 'less volume', ({ volume }) => volume === 95],
    ['ArrowUp', 'more volume', ({ volume }) => volume === 100],
    ['f', 'the full screen', ({ full }) => full === 'player'],
    ['f', 'the page again', ({ full }) => full === ''],
    ['p', 'a small picture', ({ small }) => small === 'picture'],
    ['p', 'the page again', ({ small }) => small === ''],
  ]) {
    await viewer.page.keyboard.press(key);
    await press(key, what, right);
  }
});

live.test('where the browser allows no sound, the picture plays and a button turns the sound on', async () => {
  const chromium = await live.browser();
  await goLive(chromium, 'quiet', { width: 640, height: 360 });
  const viewer = await live.open(chromium, '/healthz', { index: 5 });
  // As browsers do by default; the test's browsers are started without this rule.
  await viewer.page.evaluateOnNewDocument(() => {
    const { play } = HTMLMediaElement.prototype;
    HTMLMediaElement.prototype.play = function () {
      if (this.muted || navigator.userActivation.hasBeenActive) return play.call(this);
      this.pause();
      return Promise.reject(new DOMException('no sound before a click', 'NotAllowedError'));
    };
  });
  await viewer.page.goto(`${live.server.url}/watch?room=quiet`);
  await plays(viewer);
  assert.equal(await viewer.page.$eval('#picture', ({ muted }) => muted), true);
  await shoot(viewer, 'watch-muted');
  await viewer.page.click('#sound-wanted');
  assert.equal(await viewer.page.$eval('#picture', ({ muted }) => muted), false);
  assert.equal(await viewer.page.$eval('#sound-wanted', ({ hidden }) => hidden), true);
});

live.test('ICE restarts in both pages, and both go on by themselves when the server comes back', async () => {
  const host = await goLive(await live.browser(), 'restart', { width: 640, height: 360 });
  const viewers = [await live.open(live.browsers.at(-1), '/watch?room=restart', { index: 5 }), await live.open(await live.browser('firefox'), '/watch?room=restart', { index: 6 })];
  for (const viewer of viewers) await plays(viewer);
  for (const [person, name] of [[host, 'publication'], [viewers[0], 'viewer'], [viewers[1], 'viewer']]) {
    await person.page.evaluate((which) => window.switchyard[which].session.restartIce(window.switchyard[which].connection), name);
    await until(`${person.name} to have a pair with the new credentials`, () =>
      person.page.evaluate(async (which) => {
        const { connection } = window.switchyard[which];
        const ufrag = /^a=ice-ufrag:(.*)$/m.exec(connection.remoteDescription.sdp)[1].trim();
        const all = [...(await connection.getStats()).values()];
        const used = all.filter(({ type, state, nominated }) => type === 'candidate-pair' && state === 'succeeded' && nominated);
        return connection.iceConnectionState === 'connected' && used.length > 0 ? { ufrag } : { error: connection.iceConnectionState };
      }, name),
    );
  }
  for (const viewer of viewers) await plays(viewer);

  const late = await live.open(live.browsers[0], '/live?room=late&name=Eve', { index: 3 });
  await until('the preview', () => late.page.evaluate(readPicture, '#preview-video', PICTURE));
  await live.server.stop();
  await late.page.click('#go-live');
  await until('a sentence about it', async () => /cannot be reached.* Trying again…$/.test(await text(late, 'notice')));
  for (const person of [host, ...viewers]) await reaches(person, 'reconnecting');
  await shoot(host, 'live-reconnecting');
  await shoot(viewers[0], 'watch-reconnecting');
  assert.equal(await text(host, 'health-word'), 'Connection lost');
  live.server = await startServer();
  for (const person of [host, late]) await reaches(person, 'live');
  for (const viewer of viewers) await plays(viewer);
});

live.test('a stream with neither camera nor microphone starts from the address, and gives way to a newer page of its identity', async () => {
  const chromium = await live.browser();
  const open = async (query) => {
    const page = await live.open(chromium, '/healthz', { index: HOST, ...CAMERA });
    await page.page.evaluate(() => sessionStorage.setItem('switchyard.identity', 'somebody'));
    await page.page.goto(`${live.server.url}/live?room=card${query}`);
    return page;
  };
  const first = await open('&cam=0&mic=0&autostart=1');
  await reaches(first, 'live');
  const viewer = await live.open(chromium, '/watch?room=card', { index: 5 });
  await reaches(viewer, 'playing');
  assert.match((await look(viewer)).error, /^no participant/, 'a card, and not a black picture');
  await open('&autostart=1');
  await reaches(first, 'setup');
  assert.match(await text(first, 'notice'), /another page or device took it over/);
  await shoot(first, 'live-replaced');
  await plays(viewer);
});

live.test('what cannot be is said in a sentence', async () => {
  const chromium = await live.browser();
  const viewer = await live.open(chromium, '/watch', { index: 5 });
  await shoot(viewer, 'watch-choosing');
  await viewer.page.type('#room-name', 'no/room');
  await viewer.page.click('#start');
  assert.match(await text(viewer, 'notice'), /64 letters/);
  assert.equal(await state(viewer), 'choosing');

  // Firefox has no H.264 without its plug-in.
  const host = await live.open(chromium, '/live?room=h264&codec=h264&autostart=1', { index: HOST, width: 640, height: 360 });
  await reaches(host, 'live');
  const deaf = await live.open(await live.browser('firefox'), '/watch?room=h264', { index: 6 });
  await reaches(deaf, 'closed');
  assert.equal(await text(deaf, 'curtain-text'), 'The stream is sent as H.264, which this browser cannot play.');
  await deaf.screenshot('watch-closed-firefox');
});
