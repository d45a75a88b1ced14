/** Two people with a Chromium each: they see and hear each other, and everything that either does arrives. */
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const ROOM = 'call';
const FIRST_FRAME_MS_MAX = 5000;

const call = scene();
let ada;
let bob;

call.test('two Chromiums see and hear each other', async (t) => {
  const [one, other] = [await call.browser(), await call.browser()];
  ada = await call.join(one, ROOM, 0);
  bob = await call.join(other, ROOM, 1);
  await meet([ada, bob], { width: 640 });
  const ms = await bob.firstFrameMs();
  t.diagnostic(`from join to the first decoded frame: ${ms} ms`);
  assert.ok(ms < FIRST_FRAME_MS_MAX, `the first frame took ${ms} ms`);
  await ada.screenshot('call-ada');
});

call.test('packets are sealed with AES-GCM, which costs a third of the alternative', async () => {
  const cipher = await bob.page.evaluate(async () => {
    const report = await window.switchyard.room.peerConnection.getStats();
    return [...report.values()].find(({ type }) => type === 'transport').srtpCipher;
  });
  assert.match(cipher, /AEAD_AES_128_GCM/);
});

call.test('on one machine nothing is missing: sequence numbers go up by one', async () => {
  const counts = await bob.page.evaluate(async () => {
    const report = await window.switchyard.room.peerConnection.getStats();
    const inbound = [...report.values()].filter(({ type, packetsReceived }) => type === 'inbound-rtp' && packetsReceived > 0);
    return inbound.map(({ kind, packetsReceived, packetsLost }) => ({ kind, packetsReceived, packetsLost }));
  });
  assert.deepEqual(counts.map(({ kind }) => kind).sort(), ['audio', 'video']);
  for (const { kind, packetsReceived, packetsLost } of counts) {
    assert.ok(packetsLost <= packetsReceived / 50, `${packetsLost} lost of ${packetsReceived} ${kind} packets`);
  }
});

call.test('a muted microphone is silent and shown, and comes back', async () => {
  await ada.click('toggle-mic');
  await bob.hearsNothingOf(ada);
  await bob.page.waitForSelector(`${bob.tileOf(ada)} .mic-off:not([hidden])`);
  await ada.click('toggle-mic');
  await bob.hears(ada);
  await bob.page.waitForSelector(`${bob.tileOf(ada)} .mic-off[hidden]`);
});

call.test('a muted microphone sends next to nothing', async (t) => {
  const sent = () =>
    ada.page.evaluate(async () => {
      const { transceiver } = [...window.switchyard.room.localTracks].find(({ source }) => source === 'microphone');
      return [...(await transceiver.sender.getStats()).values()].find(({ type }) => type === 'outbound-rtp').packetsSent;
    });
  const second = async () => {
    const before = await sent();
    await pause(1000);
    return (await sent()) - before;
  };
  const loud = await second();
  await ada.click('toggle-mic');
  // The encoder looks for a fifth of a second whether it stays silent.
  await pause(500);
  const silent = await second();
  await ada.click('toggle-mic');
  await bob.hears(ada);
  t.diagnostic(`${loud} packets a second, muted ${silent}`);
  assert.ok(loud > 40 && silent < 10, `${loud} packets a second, muted ${silent}`);
});

call.test('a camera turned off leaves no picture, and comes back', async () => {
  await ada.click('toggle-camera');
  await bob.page.waitForSelector(`${bob.tileOf(ada)}:not(.has-picture)`);
  await ada.click('toggle-camera');
  await bob.sees(ada);
});

call.test('a switched camera is seen in the same tile', async () => {
  await ada.click('open-devices');
  await ada.page.waitForSelector('#room-cameras option[value="camera2"]');
  await ada.page.select('#room-cameras', 'camera2');
  await bob.sees(ada, { device: 'camera2' });
  await ada.page.select('#room-cameras', 'camera');
  await bob.sees(ada, { device: 'camera' });
  await ada.page.keyboard.press('Escape');
  assert.equal((await bob.page.$$(`.tile[data-participant="${ada.id}"]`)).length, 1);
});

call.test('an unpublished track is gone, and can be published again', async () => {
  await ada.page.evaluate(() => window.switchyard.room.unpublish(window.switchyard.media.microphone));
  await until('the microphone to be gone from the list', async () => {
    const tracks = (await bob.view())[ada.id];
    return tracks?.length === 1 && tracks[0] === 'camera';
  });
  assert.equal(await bob.page.$(`audio[data-participant="${ada.id}"]`), null);
  await ada.page.evaluate(async () => {
    const [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks();
    window.switchyard.media.microphone = await window.switchyard.room.publish(track, { source: 'microphone' });
  });
  await bob.hears(ada);
});

call.test('a reloaded page is back, once', async () => {
  const { id } = ada;
  await ada.page.reload();
  await ada.untilJoined();
  await meet([ada, bob]);
  await until('the old tile to be gone', async () => id === ada.id || (await bob.page.$(`.tile[data-participant="${id}"]`)) === null);
  assert.equal((await bob.page.$$('.tile:not([data-local])')).length, 1);
});

call.test('a closed tab is gone at once', async () => {
  await ada.close();
  await bob.misses(ada, undefined, 3000);
});

call.test('a browser that dies is gone within 20 seconds', async () => {
  const browser = await call.browser();
  const eve = await call.join(browser, ROOM, 2);
  await bob.sees(eve);
  browser.process().kill('SIGKILL');
  await bob.misses(eve, undefined, 22_000);
});
