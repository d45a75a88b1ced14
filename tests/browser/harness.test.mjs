/** The eyes and ears of the other tests, without a server: they recognise what is there, and refuse what is not. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { chromium, firefox } from './lib/browsers.mjs';
import { PICTURE, colourOf, installDevices, readPicture, readTone, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const INDEX = 5;

let server;
let url;
before(async () => {
  server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><body>'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${server.address().port}/`;
});
after(() => server.close());

/** Sends this page's devices through a peer connection to itself, so that they are coded as in a meeting. */
async function loop() {
  const sent = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  a.onicecandidate = ({ candidate }) => b.addIceCandidate(candidate);
  b.onicecandidate = ({ candidate }) => a.addIceCandidate(candidate);
  const received = new MediaStream();
  b.ontrack = ({ track }) => received.addTrack(track);
  for (const track of sent.getTracks()) a.addTrack(track, sent);
  await a.setLocalDescription();
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription();
  await a.setRemoteDescription(b.localDescription);
  const video = document.createElement('video');
  Object.assign(video, { srcObject: received, muted: true, autoplay: true, id: 'loop' });
  document.body.append(video);
  const silent = document.createElement('audio');
  Object.assign(silent, { id: 'silent', srcObject: new AudioContext().createMediaStreamDestination().stream });
  document.body.append(silent);
  window.stopSending = () => sent.getTracks().forEach((track) => track.stop());
}

for (const [name, launch] of [['Chromium', chromium], ['Firefox', firefox]]) {
  describe(name, () => {
    let browser;
    let page;
    before(async () => {
      browser = await launch();
      page = await browser.newPage();
      await page.evaluateOnNewDocument(installDevices, { index: INDEX, tone: toneOf(INDEX), width: 640, height: 360, fps: 15, picture: PICTURE });
      await page.goto(url);
      await page.evaluate(loop);
    });
    after(() => browser?.close());
    const look = () => page.evaluate(readPicture, '#loop', PICTURE);

    test('a picture is recognised after coding, and moves', async () => {
      const first = await until('a picture', look);
      assert.deepEqual([first.index, first.device, first.colour], [INDEX, 'camera', colourOf(INDEX, 'camera')]);
      await until('another frame', async () => (await look()).counter !== first.counter);
    });

    test('a tone is recognised after coding, and silence is none', async () => {
      await until('the tone', async () => {
        const heard = await page.evaluate(readTone, '#loop');
        return Math.abs(heard.hertz - toneOf(INDEX)) < 20 && heard.level > -50 ? heard : { error: heard };
      });
      const silence = await page.evaluate(readTone, '#silent');
      assert.ok(silence.level < -70, JSON.stringify(silence));
    });

    test('a picture that stands still is not taken for one that moves', async () => {
      await page.evaluate(() => window.stopSending());
      await until('the picture to stand still', async () => {
        const before = await look();
        await new Promise((resolve) => setTimeout(resolve, 300));
        return (await look()).counter === before.counter;
      });
    });

    test('no video and a foreign picture are refused', async () => {
      assert.match((await page.evaluate(readPicture, '#nothing', PICTURE)).error, /no video/);
      await page.evaluate(() => {
        const canvas = document.createElement('canvas');
        const context = canvas.getContext('2d');
        const draw = () => {
          context.fillStyle = '#808080';
          context.fillRect(0, 0, canvas.width, canvas.height);
          requestAnimationFrame(draw);
        };
        draw();
        const video = document.createElement('video');
        Object.assign(video, { id: 'grey', muted: true, autoplay: true, srcObject: canvas.captureStream() });
        document.body.append(video);
      });
      const seen = await until('the grey picture', async () => {
        const answer = await page.evaluate(readPicture, '#grey', PICTURE);
        return answer.error === 'the video has no picture yet' ? answer : { refused: answer };
      });
      assert.match(seen.refused.error ?? '', /neither black nor white|no participant's colour/);
    });
  });
}
