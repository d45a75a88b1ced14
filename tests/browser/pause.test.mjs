/** The server stands still for five seconds (SIGSTOP): nobody is lost, and pictures go on at once when it goes on. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const PAUSE_MS = 5000;
const BACK_MS_MAX = 1000;

const paused = scene();

/** What a page knows of its connection, and how many frames it has decoded. */
async function look(person) {
  return person.page.evaluate(async () => {
    const { room } = window.switchyard;
    const report = [...(await room.peerConnection.getStats()).values()];
    const videos = report.filter(({ type, kind }) => type === 'inbound-rtp' && kind === 'video');
    return {
      me: room.participantId,
      others: [...room.participants.keys()],
      ice: room.peerConnection.iceConnectionState,
      frames: videos.reduce((sum, { framesDecoded }) => sum + framesDecoded, 0),
    };
  });
}

paused.test('after a SIGSTOP of five seconds pictures go on within one, and nobody is lost', async (t) => {
  const ada = await paused.join(await paused.browser(), 'pause', 0);
  const bob = await paused.join(await paused.browser(), 'pause', 1);
  await bob.sees(ada);
  await ada.sees(bob);
  const before = await look(bob);
  process.kill(paused.server.pid, 'SIGSTOP');
  await sleep(PAUSE_MS);
  const stopped = await look(bob);
  process.kill(paused.server.pid, 'SIGCONT');
  const start = performance.now();
  await until('the next frame at Bob', async () => {
    const now = await look(bob);
    return now.frames > stopped.frames ? now : { error: 'no frame', now };
  });
  const ms = Math.round(performance.now() - start);
  t.diagnostic(`from SIGCONT to the next decoded frame: ${ms} ms`);
  assert.ok(ms <= BACK_MS_MAX, `the next frame took ${ms} ms`);
  await bob.sees(ada);
  await bob.hears(ada);
  await ada.sees(bob);
  const after = await look(bob);
  assert.deepEqual([after.me, after.others, after.ice], [before.me, before.others, before.ice], 'the same people, connected as before');
});
