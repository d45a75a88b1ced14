/** A large camera is sent in three layers; a subscriber gets the best, or the one it asks for. */
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

/** Chromium needs time to find the bandwidth of the largest layer. */
const RAMP_MS = 60_000;

const simulcast = scene();

simulcast.test('a subscriber is switched between layers, and the picture goes on', async (t) => {
  const sender = await simulcast.join(await simulcast.browser(), 'layers', 0, { width: 1280, height: 720 });
  // Its tile is smaller than the largest layer.
  const receiver = await simulcast.join(await simulcast.browser(), 'layers', 1, { query: '&adaptive=0' });
  await receiver.sees(sender, { deadlineMs: RAMP_MS });
  const started = performance.now();
  await receiver.sees(sender, { width: 1280, deadlineMs: RAMP_MS });
  t.diagnostic(`the largest layer ${Math.round(performance.now() - started)} ms after the first picture`);
  const track = await until('the track', () =>
    receiver.page.evaluate((id) => {
      const tracks = [...window.switchyard.room.participants.get(id).tracks.values()];
      return tracks.find(({ source }) => source === 'camera')?.id;
    }, sender.id),
  );
  const choose = (rid) => receiver.page.evaluate(([id, layer]) => window.switchyard.room.setLayer(id, layer), [track, rid]);
  for (const [rid, width] of [['q', 320], ['h', 640], ['f', 1280], ['q', 320], [null, 1280]]) {
    await choose(rid);
    await receiver.sees(sender, { width });
  }
  await receiver.hears(sender);
});
