/** Two people of whom one is behind a shaper, and how long pictures stand still when something happens to its way. */
import { decodes, framesOf, longestGap, watchFrames } from './flow.mjs';
import { meet } from './participant.mjs';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Before the act, for gaps that begin with it. */
const BEFORE_MS = 200;

/**
 * Both see each other, and every frame is noted from now on.
 * @param {any} scene
 * @param {import('./shaper.mjs').Shaper} shaper
 * @param {string} room
 * @param {{url?: string, query?: string}} [options] of the one behind the shaper
 */
export async function pair(scene, shaper, room, options = {}) {
  const home = await scene.join(await scene.browser(), room, 0);
  const mover = await scene.join(await scene.browser(), room, 1, { shaper, ...options });
  if (options.query?.includes('cam=0')) {
    await decodes(mover, home, 640, 60_000);
  } else {
    await meet([home, mover]);
    await watchFrames(home, mover);
  }
  await watchFrames(mover, home);
  return { home, mover };
}

/** Does something; resolves with the longest time without a new frame at `viewer` from then on, within `ms`. */
export async function gapAfter(viewer, ms, act) {
  const at = await viewer.page.evaluate(() => performance.now());
  await act();
  await pause(ms);
  const { now, frames } = await framesOf(viewer);
  const since = frames.filter((frame) => frame.at > at - BEFORE_MS);
  return longestGap([...since, { at: now }]);
}

/** When the first frame came at `viewer` that is newer than `at` of its own clock; NaN: none yet. */
export async function firstFrameAfter(viewer, at) {
  const { frames } = await framesOf(viewer);
  return (frames.find((frame) => frame.at > at)?.at ?? NaN) - at;
}

/** The library restarts ICE, as when the browser says that the network has changed; resolves when the answer is in. */
export async function restartIce(person) {
  await person.page.evaluate(async () => {
    const connection = window.switchyard.room.peerConnection;
    const ufrag = () => /a=ice-ufrag:(\S+)/.exec(connection.currentLocalDescription.sdp)[1];
    const before = ufrag();
    window.dispatchEvent(new Event('online'));
    while (ufrag() === before) await new Promise((resolve) => setTimeout(resolve, 10));
  });
}

/** What a page knows of its connection: the same object before and after says that nothing was set up anew. */
export function connectionOf(person) {
  return person.page.evaluate(() => {
    const { room } = window.switchyard;
    window.testPeer ??= room.peerConnection;
    const { state } = room;
    return { id: room.participantId, state, same: window.testPeer === room.peerConnection, media: room.peerConnection?.connectionState };
  });
}
