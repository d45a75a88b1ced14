/** Lost audio is asked for again, and comes twice where much is lost. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { Shaper } from './lib/shaper.mjs';
import { until } from './lib/until.mjs';

/** What the player makes up may be so much of what is heard: less than half of what is lost, on a machine that is busy otherwise. */
const MADE_UP_MAX = 0.04;
const MEASURED_MS = 10_000;
const PACKET_MS = 20;
const WITHOUT_VIDEO = { query: '&cam=0' };

// One worker has one media port.
const audio = scene({ args: ['--workers', '1'], apart: true });

/** What is known of the one voice that somebody hears. */
function heardBy(listener) {
  return listener.page.evaluate(async () => {
    const report = await window.switchyard.room.peerConnection.getStats();
    const [stats] = [...report.values()].filter(({ type, kind, packetsReceived }) => type === 'inbound-rtp' && kind === 'audio' && packetsReceived > 0);
    return stats;
  });
}

/** Runs in the page before its scripts: a browser that asks for no lost audio. */
function askForNothing() {
  const { setLocalDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setLocalDescription = function (description) {
    const sdp = description?.sdp.replace(/(a=rtpmap:(\d+) opus.*\r\n)a=rtcp-fb:\2 nack\r\n/g, '$1');
    return setLocalDescription.call(this, description && { ...description, sdp });
  };
}

/** Two people, one of them behind a link that loses ten percent of what comes to it. What the latter heard, once `ready`. */
async function listen(room, options, ready) {
  const shaper = await Shaper.start({ down: 'rate=5M delay=20ms', up: 'rate=5M delay=20ms' });
  const browser = await audio.browser();
  await audio.join(browser, room, 0, WITHOUT_VIDEO);
  const listener = await audio.join(browser, room, 1, { ...WITHOUT_VIDEO, ...options, shaper });
  await until('a voice', async () => (await heardBy(listener))?.packetsReceived > 100 || { error: 'silence' });
  await shaper.set('down loss=0.1');
  const before = await until('the loss to be dealt with', async () => {
    const stats = await heardBy(listener);
    return ready(stats) ? stats : { error: 'not yet', stats };
  });
  await new Promise((done) => setTimeout(done, MEASURED_MS));
  const after = await heardBy(listener);
  const grown = (name) => (after[name] ?? 0) - (before[name] ?? 0);
  const madeUp = grown('concealedSamples') / grown('totalSamplesReceived');
  return { madeUp, asked: grown('nackCount'), lost: grown('packetsLost') };
}

const told = ({ madeUp, asked, lost }) => `${asked} packets asked for, ${lost} lost for good, ${(madeUp * 100).toFixed(2)} % of the sound made up`;

audio.test('of ten percent that are lost hardly anything is missing, because it is asked for', async (t) => {
  const heard = await listen('asks', {}, ({ nackCount }) => nackCount > 0);
  t.diagnostic(told(heard));
  assert.ok(heard.madeUp <= MADE_UP_MAX, told(heard));
  assert.ok(heard.asked > 20, told(heard));
});

// The browser takes RED apart before it counts: what came twice is discarded.
audio.test('who does not ask gets it twice', async (t) => {
  const heard = await listen('red', { before: askForNothing }, ({ packetsDiscarded }) => packetsDiscarded > 50);
  t.diagnostic(told(heard));
  assert.equal(heard.asked, 0);
  assert.ok(heard.lost > 20, told(heard));
  // How much of it is saved at all is a matter of the simulation; a busy machine makes gaps of its own.
  const share = heard.lost / (MEASURED_MS / PACKET_MS);
  assert.ok(heard.madeUp < share * 0.75, `${told(heard)}, ${(share * 100).toFixed(2)} % lost`);
});
