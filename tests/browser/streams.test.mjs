/** Publishers by WHIP and viewers by WHEP that are no browsers, and who joins a stream late. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import datachannel from 'node-datachannel';
import { MediaStreamTrack, RTCPeerConnection, useOPUS, useVP8 } from 'werift';
import { emptyPage, hearsTone, publish, seesMoving, watch } from './lib/plain.mjs';
import { ffmpeg, gstreamer, viewer } from './lib/programs.mjs';
import { H264, OPUS, VP8, encode } from './lib/rtp.mjs';
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

/** Makes a WHIP session for this library's offer; returns the answer. */
async function whip(room, offer) {
  const response = await fetch(`${streams.server.url}/whip/${room}`, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: offer });
  const answer = await response.text();
  assert.equal(response.status, 201, `${answer}\nto the offer\n${offer}`);
  return answer;
}

/** What it takes from the session to the first picture, in milliseconds. */
async function firstPictureMs(player, index) {
  const start = performance.now();
  await seesMoving(player, index);
  return Math.round(performance.now() - start);
}

streams.test('FFmpeg publishes H.264, and who comes late sees and hears: Chromium, aiortc, GStreamer', async (t) => {
  const url = streams.server.url;
  const encoder = ffmpeg(6, [...H264, ...OPUS, '-f', 'whip', `${url}/whip/ffmpeg`]);
  const first = await player('ffmpeg');
  await seesMoving(first, 6);
  // FFmpeg does not hear that somebody wants a keyframe; one comes every 2 s.
  const late = await player('ffmpeg');
  t.diagnostic(`the picture of a late viewer of FFmpeg ${await firstPictureMs(late, 6)} ms after its session`);
  await hearsTone(late, 6);
  for (const program of [viewer('aiortc', `${url}/whep/ffmpeg`), gstreamer(`${url}/whep/ffmpeg`, 'H264')]) {
    await program.started('session');
    await program.sees(6);
    await program.hears(6);
    await program.end();
  }
  await encoder.end();
});

streams.test('Chromium publishes VP8 in two layers, seen by Chromium, aiortc, wrtc and GStreamer', async () => {
  const url = streams.server.url;
  const publisher = await page(3);
  assert.equal((await publisher.evaluate(publish, '/whip/layers', { rids: ['q', 'f'] })).error, undefined);
  const programs = [viewer('aiortc', `${url}/whep/layers`), viewer('wrtc', `${url}/whep/layers`), gstreamer(`${url}/whep/layers`, 'VP8')];
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
});

streams.test('GStreamer, whose certificate is RSA, publishes VP8', async () => {
  const encoder = gstreamer(`${streams.server.url}/whip/gstreamer`, 'VP8', 2);
  await encoder.started('session');
  const chromium = await player('gstreamer');
  await seesMoving(chromium, 2);
  await hearsTone(chromium, 2);
  await encoder.end();
});

streams.test('werift publishes VP8', async () => {
  const connection = new RTCPeerConnection({ codecs: { audio: [useOPUS()], video: [useVP8()] } });
  const [audio, video] = ['audio', 'video'].map((kind) => new MediaStreamTrack({ kind }));
  for (const track of [audio, video]) connection.addTransceiver(track, { direction: 'sendonly' });
  await connection.setLocalDescription(await connection.createOffer());
  await connection.setRemoteDescription({ type: 'answer', sdp: await whip('werift', connection.localDescription.sdp) });
  const track = (encoder, track, payloadType) => ({ encoder, payloadType, ssrc: 1, send: (packet) => track.writeRtp(packet) });
  const encoder = await encode(5, { audio: track(OPUS, audio, 97), video: track(VP8, video, 96) });
  const chromium = await player('werift');
  await seesMoving(chromium, 5);
  await hearsTone(chromium, 5);
  await encoder.end();
  await connection.close();
});

streams.test('libdatachannel, the library in OBS, publishes H.264 as OBS does', async () => {
  const connection = new datachannel.PeerConnection('obs', { iceServers: [], disableAutoNegotiation: true });
  const audio = new datachannel.Audio('0', 'SendOnly');
  audio.addOpusCodec(111);
  audio.addSSRC(1001, 'cname', 'obs', 'obs-audio');
  const video = new datachannel.Video('1', 'SendOnly');
  video.addH264Codec(96);
  video.addSSRC(1002, 'cname', 'obs', 'obs-video');
  const tracks = [audio, video].map((media) => connection.addTrack(media));
  connection.setLocalDescription('offer');
  const offer = await until('the offer', () => connection.localDescription() ?? false);
  connection.setRemoteDescription(await whip('obs', offer.sdp), 'answer');
  const track = (encoder, track, payloadType, ssrc) => ({ encoder, payloadType, ssrc, send: (packet) => track.isOpen() && track.sendMessageBinary(packet) });
  const encoder = await encode(7, { audio: track(OPUS, tracks[0], 111, 1001), video: track(H264, tracks[1], 96, 1002) });
  const chromium = await player('obs');
  await seesMoving(chromium, 7);
  await hearsTone(chromium, 7);
  await encoder.end();
  connection.close();
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
  });
}
