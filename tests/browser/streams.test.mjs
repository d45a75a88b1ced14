/** Publishers by WHIP and viewers by WHEP that are no browsers, and who joins a stream late. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import datachannel from 'node-datachannel';
import { emptyPage, hearsTone, otherOf, publish, seesMoving, watch } from './lib/plain.mjs';
import { H264, H265, OPUS, VP8, encoder, ffmpeg, gstreamerPublisher, gstreamerViewer, viewer, werift } from './lib/programs.mjs';
import { receive } from './lib/rtp.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const streams = scene();
// Its threads would keep the tests from ending.
after(() => datachannel.cleanup());
let browser;

/** A page that publishes or watches as participant `index`. */
async function page(index) {
  browser ??= await streams.browser();
  return emptyPage(browser, streams.server.url, index);
}

/** A page that watches this room. */
async function player(room) {
  const player = await page(0);
  await until('a session', async () => {
    const { status, error } = await player.evaluate(watch, `/whep/${room}`);
    // Nobody publishes yet.
    if (status !== 409) assert.equal(error, undefined);
    return status === 201 || { error };
  });
  return player;
}

streams.test('FFmpeg publishes H.264, seen in a meeting and, late, by Chromium, aiortc and GStreamer', async (t) => {
  browser ??= await streams.browser();
  const person = await streams.join(browser, 'ffmpeg', 0);
  // A keyframe every 8 s, and FFmpeg does not hear that somebody wants one: those who come late get the last one from the server's cache.
  const program = ffmpeg(6, [...H264, '-g', '120', ...OPUS, '-f', 'whip', `${streams.server.url}/whip/ffmpeg?identity=cam`]);
  const publisher = await otherOf(person, 6, 'FFmpeg');
  await person.sees(publisher);
  await person.hears(publisher);
  await person.screenshot('whip-ffmpeg');
  const url = `${streams.server.url}/whep/ffmpeg?participant=cam`;
  const programs = [viewer('aiortc', url), gstreamerViewer(url, 'H264')];
  const chromium = await player('ffmpeg?participant=cam');
  const start = performance.now();
  await seesMoving(chromium, 6, { deadlineMs: 4000 });
  t.diagnostic(`a late viewer of FFmpeg has the picture ${Math.round(performance.now() - start)} ms after its session`);
  await hearsTone(chromium, 6);
  for (const late of programs) {
    await late.sees(6);
    await late.hears(6);
    await late.end();
  }
  await program.end();
  await person.misses(publisher);
  await Promise.all([chromium.close(), person.close()]);
});

streams.test('Chromium publishes VP8 in two layers, seen by Chromium, aiortc, wrtc and GStreamer', async () => {
  const url = streams.server.url;
  const publisher = await page(3);
  assert.equal((await publisher.evaluate(publish, '/whip/layers', { rids: ['q', 'f'] })).error, undefined);
  const programs = [viewer('aiortc', `${url}/whep/layers`), viewer('wrtc', `${url}/whep/layers`), gstreamerViewer(`${url}/whep/layers`, 'VP8')];
  const chromium = await page(0);
  const { session } = await chromium.evaluate(watch, '/whep/layers');
  await seesMoving(chromium, 3, { width: 640 });
  for (const program of programs) {
    await program.sees(3, { width: 640 });
    await program.hears(3);
    await program.end();
  }
  const layer = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ mediaId: '1', rid: 'q' }) };
  assert.equal(await chromium.evaluate(async (address, layer) => (await fetch(address, layer)).status, `${session}/layer`, layer), 200);
  await seesMoving(chromium, 3, { width: 320 });
  await Promise.all([chromium.close(), publisher.close()]);
});

streams.test('GStreamer, whose certificate is RSA, publishes VP8', async () => {
  const publisher = gstreamerPublisher(`${streams.server.url}/whip/gstreamer`, 2);
  await publisher.started('session');
  const chromium = await player('gstreamer');
  await seesMoving(chromium, 2);
  await hearsTone(chromium, 2);
  await publisher.end();
  await chromium.close();
});

streams.test('werift publishes VP8', async () => {
  const publisher = werift(`${streams.server.url}/whip/werift`);
  await publisher.started('session');
  const { audio, video } = publisher.ports;
  const source = encoder(5, { audio: { encoder: OPUS, payloadType: 97, ssrc: 1, port: audio }, video: { encoder: VP8, payloadType: 96, ssrc: 2, port: video } });
  const chromium = await player('werift');
  await seesMoving(chromium, 5);
  await hearsTone(chromium, 5);
  await source.end();
  await publisher.end();
  await chromium.close();
});

/**
 * Publishes the camera and microphone of participant `index` with libdatachannel, as OBS does: one stream, known by its SSRCs.
 * @param {(video: import('node-datachannel').Video) => void} add adds the format 96
 * @returns the way to end it
 */
async function publishLikeObs(room, index, encoding, add) {
  const connection = new datachannel.PeerConnection('obs', { iceServers: [], disableAutoNegotiation: true });
  const audio = new datachannel.Audio('0', 'SendOnly');
  audio.addOpusCodec(111);
  audio.addSSRC(1001, 'cname', 'obs', 'obs-audio');
  const video = new datachannel.Video('1', 'SendOnly');
  add(video);
  video.addSSRC(1002, 'cname', 'obs', 'obs-video');
  const tracks = [audio, video].map((media) => connection.addTrack(media));
  connection.setLocalDescription('offer');
  const offer = await until('the offer', () => connection.localDescription() ?? false);
  const request = { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: offer.sdp };
  const response = await fetch(`${streams.server.url}/whip/${room}`, request);
  const answer = await response.text();
  assert.equal(response.status, 201, `${answer}\nto the offer\n${offer.sdp}`);
  connection.setRemoteDescription(answer, 'answer');
  const ports = tracks.map((track) => receive((packet) => track.isOpen() && track.sendMessageBinary(packet)));
  const [audioPort, videoPort] = await Promise.all(ports);
  const source = encoder(index, {
    audio: { encoder: OPUS, payloadType: 111, ssrc: 1001, port: audioPort },
    video: { encoder: encoding, payloadType: 96, ssrc: 1002, port: videoPort },
  });
  return async () => {
    await source.end();
    connection.close();
  };
}

streams.test('libdatachannel, the library in OBS, publishes H.264', async () => {
  const end = await publishLikeObs('obs', 7, H264, (video) => video.addH264Codec(96));
  const chromium = await player('obs');
  await seesMoving(chromium, 7);
  await hearsTone(chromium, 7);
  await end();
  await chromium.close();
});

streams.test('H.265 passes through, from libdatachannel to GStreamer', async () => {
  const end = await publishLikeObs('h265', 1, H265, (video) => video.addH265Codec(96));
  const late = gstreamerViewer(`${streams.server.url}/whep/h265`, 'H265');
  await late.sees(1);
  await late.hears(1);
  await late.end();
  await end();
});

for (const [name, codec] of [['vp9', 'video/VP9'], ['av1', 'video/AV1']]) {
  streams.test(`who comes late sees ${codec}`, async () => {
    const publisher = await page(4);
    assert.equal((await publisher.evaluate(publish, `/whip/${name}`, { codec })).error, undefined);
    await until('30 frames', () =>
      publisher.evaluate(async () => [...(await window.connection.getStats()).values()].find((s) => s.type === 'outbound-rtp' && s.kind === 'video')?.framesSent > 30),
    );
    const late = await player(name);
    await seesMoving(late, 4);
    await hearsTone(late, 4);
    await Promise.all([late.close(), publisher.close()]);
  });
}
