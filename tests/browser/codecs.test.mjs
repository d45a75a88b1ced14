/** Every video codec that a Chromium sends reaches another; what a browser cannot play is said in words. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const codecs = scene();
let browser;

/** Runs in the page: the codec of the picture that arrives from `participant`, as the browser counts it. */
async function receivedCodec(participant) {
  const track = [...window.switchyard.room.participants.get(participant).tracks.values()].find(({ source }) => source === 'camera');
  const report = await track.transceiver.receiver.getStats();
  const inbound = [...report.values()].find(({ type }) => type === 'inbound-rtp');
  return report.get(inbound?.codecId)?.mimeType ?? { error: 'no codec yet' };
}

for (const [name, mime] of [['h264', 'video/H264'], ['vp9', 'video/VP9'], ['av1', 'video/AV1']]) {
  codecs.test(`${name} from Chromium to Chromium`, async () => {
    browser ??= await codecs.browser();
    const sender = await codecs.join(browser, name, 0, { codec: name });
    const receiver = await codecs.join(browser, name, 1);
    await receiver.sees(sender, { deadlineMs: 30_000 });
    await receiver.hears(sender);
    assert.equal(await until('the codec', () => receiver.page.evaluate(receivedCodec, sender.id)), mime);
    await receiver.screenshot(`codec-${name}`);
    await sender.close();
    await receiver.close();
  });
}

codecs.test('a Firefox that cannot play H.264 says so, and hears', async () => {
  browser ??= await codecs.browser();
  const sender = await codecs.join(browser, 'unavailable', 0, { codec: 'h264' });
  const receiver = await codecs.join(await codecs.browser('firefox'), 'unavailable', 1);
  const note = await until('a sentence on the tile', () =>
    receiver.page.evaluate((selector) => {
      const note = document.querySelector(`${selector} .tile-note`);
      return note && !note.hidden ? note.textContent : '';
    }, receiver.tileOf(sender)),
  );
  assert.match(note, /H\.264/);
  await receiver.hears(sender);
  await sender.sees(receiver);
  await receiver.screenshot('codec-unavailable');
});
