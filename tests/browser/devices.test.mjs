/** Devices come and go: what was chosen is remembered, what is unplugged is replaced until it is back, and sound goes where it was sent. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const devices = scene();
let ada;
let bob;

/** Runs in the page before its scripts, after its devices were put in: some can be unplugged, and everything that is asked for is noted. */
function installCables() {
  const media = navigator.mediaDevices;
  const { getUserMedia, enumerateDevices } = media;
  window.cables = { unplugged: new Set(), asked: [], sinks: [], opened: [] };
  const { unplugged, asked, sinks, opened } = window.cables;
  media.getUserMedia = async (constraints) => {
    asked.push(constraints);
    const exact = constraints.video?.deviceId?.exact;
    if (unplugged.has(exact)) throw new DOMException('gone', 'OverconstrainedError');
    const stream = await getUserMedia.call(media, constraints);
    opened.push(...stream.getTracks());
    return stream;
  };
  media.enumerateDevices = async () => {
    const all = [...(await enumerateDevices.call(media)), { kind: 'audiooutput', deviceId: 'default', label: 'Built in' }, { kind: 'audiooutput', deviceId: 'headset', label: 'Headset' }];
    return all.filter(({ deviceId }) => !unplugged.has(deviceId));
  };
  HTMLMediaElement.prototype.setSinkId = async function (id) {
    if (unplugged.has(id)) throw new DOMException('gone', 'NotFoundError');
    if (this.srcObject?.getAudioTracks().length > 0 && !this.muted) sinks.push(id);
  };
}

const plug = (device, present) =>
  ada.page.evaluate(
    (id, here) => {
      const { unplugged } = window.cables;
      if (here) unplugged.delete(id);
      else unplugged.add(id);
      const { camera } = window.switchyard.media;
      if (!here && camera.mediaStreamTrack.getSettings().deviceId === id) {
        camera.mediaStreamTrack.stop();
        camera.mediaStreamTrack.dispatchEvent(new Event('ended'));
      }
      navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
    },
    device,
    present,
  );

const toasted = (pattern) =>
  until(`a toast like ${pattern}`, async () => {
    const text = await ada.page.evaluate(() => document.querySelector('#toasts').textContent);
    return pattern.test(text) || { error: text };
  });

devices.test('a chosen camera is used again the next time', async () => {
  const browser = await devices.browser();
  ada = await devices.open(browser, '/?room=devices&name=P0&autojoin=1', { index: 0, before: installCables });
  await ada.untilJoined();
  bob = await devices.join(browser, 'devices', 1);
  await bob.sees(ada);
  await ada.click('open-devices');
  await ada.page.waitForSelector('#room-cameras option[value="camera2"]');
  await ada.page.select('#room-cameras', 'camera2');
  await bob.sees(ada, { device: 'camera2' });
  await ada.page.reload();
  await ada.untilJoined();
  await bob.sees(ada, { device: 'camera2' });
});

devices.test('an unplugged camera is replaced, in words, and used again when it is back', async () => {
  await plug('camera2', false);
  await toasted(/Your camera was unplugged or taken away\. .* is used now\./);
  await bob.sees(ada, { device: 'camera' });
  await plug('camera2', true);
  await toasted(/Your camera is back\./);
  await bob.sees(ada, { device: 'camera2' });
});

devices.test('with no other camera there is no picture, and it can be turned on again', async () => {
  await ada.page.evaluate(() => {
    const { media } = window.switchyard;
    navigator.mediaDevices.getUserMedia = async () => {
      throw new DOMException('none', 'NotFoundError');
    };
    media.camera.mediaStreamTrack.dispatchEvent(new Event('ended'));
  });
  await bob.page.waitForSelector(`${bob.tileOf(ada)}:not(.has-picture)`);
  await ada.click('toggle-camera');
  await toasted(/No camera was found\./);
  await ada.page.reload();
  await ada.untilJoined();
});

devices.test('noise suppression and echo cancellation can be turned off, and stay off', async () => {
  const asked = () => ada.page.evaluate(() => window.cables.asked.map(({ audio }) => audio).filter(Boolean).at(-1));
  assert.deepEqual(await asked(), { echoCancellation: true, noiseSuppression: true, autoGainControl: true });
  await ada.click('open-devices');
  await ada.page.click('#noise-suppression');
  await until('the microphone to be opened again', async () => (await asked()).noiseSuppression === false);
  await ada.page.click('#echo-cancellation');
  await until('the microphone to be opened again', async () => (await asked()).echoCancellation === false);
  await bob.hears(ada);
  await ada.page.reload();
  await ada.untilJoined();
  const again = await until('the microphone', async () => (await asked()) ?? { error: 'not yet' });
  assert.deepEqual([again.noiseSuppression, again.echoCancellation], [false, false]);
});

devices.test('voices go to the chosen speaker, also those that come later, and one that is gone is refused in words', async () => {
  const sinks = () => ada.page.evaluate(() => window.cables.sinks);
  await ada.hears(bob);
  await ada.click('open-devices');
  await ada.page.waitForSelector('#room-speakers option[value="headset"]');
  await ada.page.select('#room-speakers', 'headset');
  await until('the voice to move', async () => (await sinks()).join() === 'headset');
  await ada.page.reload();
  await ada.untilJoined();
  await until('the voice to be there from the begin', async () => (await sinks()).at(-1) === 'headset');
  await ada.click('open-devices');
  await ada.page.waitForSelector('#room-speakers option[value="headset"]');
  await ada.page.evaluate(() => window.cables.unplugged.add('default'));
  await ada.page.select('#room-speakers', 'default');
  await toasted(/This speaker cannot be used; it may have been unplugged\./);
});

devices.test('on the first screen the speaker is tried, what is off stays off, and no choice leaves a camera on', async () => {
  const eve = await devices.open(devices.browsers[0], '/?room=first&name=P4', { index: 4, before: installCables });
  const { page } = eve;
  /** Cameras that are on. */
  const on = (count) =>
    until(`${count} cameras to be on`, async () => {
      const live = await page.evaluate(() => window.cables.opened.filter(({ kind, readyState }) => kind === 'video' && readyState === 'live').length);
      return live === count || { error: live };
    });
  await page.waitForSelector('#prejoin-speakers option[value="headset"]');
  await on(1);
  const outlook = (sentence) => until(sentence, () => page.$eval('#prejoin-outlook', ({ textContent }, wanted) => textContent === wanted || { error: textContent }, sentence));
  await outlook('Everybody in the room sees and hears you as soon as you join. Nobody is there yet.');
  await page.$eval('#room-name', (field) => {
    field.value = 'devices';
    field.dispatchEvent(new Event('change'));
  });
  await outlook('Everybody in the room sees and hears you as soon as you join. 2 people are there.');
  await page.$eval('#room-name', (field) => {
    field.value = 'first';
    field.dispatchEvent(new Event('change'));
  });
  await page.select('#prejoin-speakers', 'headset');
  await eve.click('prejoin-test');
  await until('the sound', () => page.evaluate(() => window.cables.sinks.includes('headset')));
  await page.evaluate(() => {
    const list = document.querySelector('#prejoin-cameras');
    for (const id of ['camera2', 'camera', 'camera2']) {
      list.value = id;
      list.dispatchEvent(new Event('change'));
    }
  });
  await until('the last choice', () => page.evaluate(() => document.querySelector('#preview-video').srcObject?.getVideoTracks()[0].getSettings().deviceId === 'camera2'));
  await on(1);
  await eve.click('preview-camera');
  await on(0);
  await eve.click('invite-before');
  assert.match(await page.$eval('#invite[open] #invite-link', ({ value }) => value), /\/\?room=first$/);
  assert.ok(await page.$('#invite-code svg'));
  await page.reload();
  await page.waitForSelector('#preview-mic.on');
  assert.equal(await page.$('#preview-camera.on'), null);
  // It is still being opened when they join.
  await page.evaluate(() => {
    document.querySelector('#preview-camera').click();
    document.querySelector('#join').click();
  });
  await eve.untilJoined();
  await until('the camera to be sent', () => page.evaluate(() => window.switchyard.media.cameraOn));
  await on(1);
  // Off before it is open, and away before it is.
  await page.evaluate(() => {
    const { media } = window.switchyard;
    void media.choose('camera', 'camera');
    void media.choose('camera', 'camera2');
    void media.toggleCamera();
  });
  await on(0);
  await page.evaluate(() => {
    void window.switchyard.media.toggleCamera();
    document.querySelector('#leave').click();
  });
  await until('the end', () => page.evaluate(() => document.body.dataset.state === 'closed'));
  await new Promise((resolve) => setTimeout(resolve, 500));
  await on(0);
});

/** Runs in the page before its scripts, after its devices were put in: a microphone that is as loud as `loudness` says. */
function installVoice() {
  const { mediaDevices: media } = navigator;
  const { getUserMedia } = media;
  const context = new AudioContext();
  const [voice, gain, sound] = [new OscillatorNode(context, { frequency: 300 }), new GainNode(context, { gain: 0 }), context.createMediaStreamDestination()];
  voice.connect(gain).connect(sound);
  voice.start();
  window.loudness = gain.gain;
  media.getUserMedia = async (constraints) => {
    if (!constraints.audio) return getUserMedia.call(media, constraints);
    return new MediaStream(sound.stream.getTracks().map((track) => track.clone()));
  };
}

devices.test('the level on the first screen goes with the sound, and is gone with the microphone', async () => {
  const { page } = await devices.open(devices.browsers[0], '/?room=level&name=P6&cam=0', { index: 6, before: installVoice });
  const level = () => page.$eval('#preview-level', (meter) => (meter.checkVisibility() ? meter.value : -1));
  const louder = (gain) => page.evaluate((value) => (window.loudness.value = value), gain);
  const goes = (from, to) =>
    until(`a level of ${from} to ${to}`, async () => {
      const now = await level();
      return (now >= from && now <= to) || { error: now };
    });
  await page.waitForSelector('#preview-mic.on');
  await goes(0, 0.01);
  await louder(0.05);
  await goes(0.12, 0.22);
  await louder(0.2);
  await goes(0.6, 0.8);
  await louder(0);
  await goes(0, 0.01);
  await louder(0.2);
  await goes(0.6, 0.8);
  await page.click('#preview-mic');
  await page.waitForSelector('#preview-mic:not(.on)');
  for (let look = 0; look < 10; look++) {
    assert.equal(await level(), -1, 'nothing moves');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await page.click('#preview-mic');
  await goes(0.6, 0.8);
});

devices.test('what is turned off or changed in the room is so when they join again, also from the first screen', async () => {
  const { page } = await devices.join(devices.browsers[0], 'again', 5, { before: installCables });
  const state = (wanted) => until(`the state ${wanted}`, () => page.evaluate((name) => document.body.dataset.state === name || { error: document.body.dataset.state }, wanted));
  const sent = () => page.evaluate(() => [...window.switchyard.room.localTracks].filter(({ muted }) => !muted).map(({ source }) => source).sort().join());
  const sends = (what) => until(`${what} to be sent`, async () => (await sent()) === what || { error: await sent() });
  const again = async (id) => {
    await page.click('#leave');
    await state('closed');
    await page.click(`#${id}`);
  };
  await sends('camera,microphone');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'room-title');
  await page.click('#toggle-camera');
  await sends('microphone');
  await again('rejoin');
  await state('connected');
  await sends('microphone');
  await page.click('#toggle-mic');
  await sends('');
  await page.click('#open-devices');
  await page.click('#noise-suppression');
  await until('the choice to be kept', () => page.evaluate(() => localStorage.getItem('switchyard.noiseSuppression') === 'off'));
  await page.keyboard.press('Escape');
  await page.evaluate(() => window.cables.asked.splice(0));
  await again('back');
  await state('prejoin');
  await page.waitForSelector('#preview-camera[aria-label="Turn the camera on"]');
  await page.click('#preview-mic');
  await page.waitForSelector('#preview-mic.on');
  assert.match(await page.$eval('#prejoin-outlook', ({ textContent }) => textContent), /^Everybody in the room hears you as soon as you join; your camera stays off\./);
  assert.deepEqual(await page.evaluate(() => window.cables.asked), [{ audio: { echoCancellation: true, noiseSuppression: false, autoGainControl: true } }]);
  await page.click('#join');
  await state('connected');
  await sends('microphone');
});
