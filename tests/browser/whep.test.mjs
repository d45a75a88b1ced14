/** What WHIP and WHEP have beyond `POST` and `DELETE`: ICE restarts, an offer of the server's, events. Plain `fetch`, no library of ours. */
import assert from 'node:assert/strict';
import { emptyPage, publish, seesMoving } from './lib/plain.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const whep = scene();

/** Runs in the page: restarts ICE as RFC 9725 section 4.3.3 says; returns what came of it. */
async function restart(session) {
  const { connection } = window;
  const before = connection.remoteDescription.sdp;
  const offer = await connection.createOffer({ iceRestart: true });
  await connection.setLocalDescription(offer);
  const line = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, 'm'))[0].trim();
  const body = `${line(offer.sdp, 'ice-ufrag')}\r\n${line(offer.sdp, 'ice-pwd')}\r\n`;
  const headers = { 'content-type': 'application/trickle-ice-sdpfrag', 'if-match': '*' };
  const response = await fetch(session, { method: 'PATCH', headers, body });
  const fragment = await response.text();
  const fresh = ['ice-ufrag', 'ice-pwd'].reduce((sdp, name) => sdp.replaceAll(line(before, name), line(fragment, name)), before);
  await connection.setRemoteDescription({ type: 'answer', sdp: fresh });
  return { status: response.status, tag: response.headers.get('etag'), ufrag: line(fragment, 'ice-ufrag').split(':')[1] };
}

/** Runs in the page: the server's user fragment on the pair in use, and whether media goes on. */
async function pair() {
  const stats = [...(await window.connection.getStats()).values()];
  const transport = stats.find((s) => s.type === 'transport');
  const used = stats.find((s) => s.id === transport?.selectedCandidatePairId);
  const remote = stats.find((s) => s.id === used?.remoteCandidateId);
  return { ufrag: remote?.usernameFragment, state: used?.state, frames: stats.find((s) => s.type === 'outbound-rtp' && s.kind === 'video')?.framesSent };
}

/** Runs in the page: asks for AV1 alone, takes the server's offer instead, and plays it in #out. */
async function takeOffer(address) {
  const wish = new RTCPeerConnection();
  const { codecs } = RTCRtpReceiver.getCapabilities('video');
  wish.addTransceiver('video', { direction: 'recvonly' }).setCodecPreferences(codecs.filter((codec) => codec.mimeType === 'video/AV1'));
  await wish.setLocalDescription();
  const sdp = { 'content-type': 'application/sdp' };
  const response = await fetch(address, { method: 'POST', headers: sdp, body: wish.localDescription.sdp });
  wish.close();
  const connection = new RTCPeerConnection();
  const out = document.createElement('video');
  Object.assign(out, { id: 'out', autoplay: true, muted: true, srcObject: new MediaStream() });
  document.body.append(out);
  connection.ontrack = ({ track }) => out.srcObject.addTrack(track);
  const offer = await response.text();
  if (response.status !== 406) return { status: response.status, offer };
  await connection.setRemoteDescription({ type: 'offer', sdp: offer });
  await connection.setLocalDescription();
  const session = response.headers.get('location');
  const patched = await fetch(session, { method: 'PATCH', headers: sdp, body: connection.localDescription.sdp });
  window.connection = connection;
  return { status: response.status, patched: `${patched.status} ${await patched.text()}`, session };
}

/** Runs in the page: makes an event stream; what it says is kept in `window.events`. */
async function listen(session) {
  const made = await fetch(`${session}/sse`, { method: 'POST' });
  window.events = [];
  const source = new EventSource(made.headers.get('location'));
  for (const name of ['active', 'inactive', 'viewercount']) source.addEventListener(name, ({ data }) => window.events.push(`${name} ${data}`));
  return made.status;
}

whep.test('ICE restarts by PATCH, an offer of the server is played, and events tell of the publisher', async () => {
  const browser = await whep.browser();
  const publisher = await emptyPage(browser, whep.server.url, 3);
  const published = await publisher.evaluate(publish, '/whip/stage?identity=cam');
  assert.equal(published.status, 201);
  await until('the first pair', async () => (await publisher.evaluate(pair)).frames > 0);
  const restarted = await publisher.evaluate(restart, published.session);
  assert.equal(restarted.status, 200);
  assert.notEqual(restarted.tag, published.tag);
  const frames = await until('a pair with the new credentials', async () => {
    const now = await publisher.evaluate(pair);
    return now.ufrag === restarted.ufrag && now.state === 'succeeded' ? now : { error: JSON.stringify(now) };
  });
  await until('more frames', async () => (await publisher.evaluate(pair)).frames > frames.frames + 10);

  const viewer = await emptyPage(browser, whep.server.url, 3);
  const taken = await viewer.evaluate(takeOffer, '/whep/stage');
  assert.deepEqual([taken.status, taken.patched], [406, '204 '], JSON.stringify(taken));
  await seesMoving(viewer, 3);
  assert.equal(await viewer.evaluate(listen, taken.session), 201);
  const heard = (event) => until(event, async () => (await viewer.evaluate(() => window.events)).includes(event));
  await heard('active {}');
  await heard('viewercount {"viewercount":1}');

  // The publisher goes and comes back: the viewer does nothing.
  await publisher.evaluate(async (session) => fetch(session, { method: 'DELETE' }), published.session);
  await heard('inactive {}');
  await publisher.evaluate(publish, '/whip/stage?identity=cam');
  await seesMoving(viewer, 3);
});
