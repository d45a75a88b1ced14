/**
 * Figures of a large and of a long meeting, on a quiet machine:
 * SWITCHYARD=target/release/switchyard tests/ns.sh node tests/browser/meeting_figures.mjs tiles
 * SWITCHYARD=target/release/switchyard tests/ns.sh node tests/browser/meeting_figures.mjs memory [minutes]
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { chromium } from './lib/browsers.mjs';
import { Participant } from './lib/participant.mjs';
import { BINARY, OUT, startServer } from './lib/server.mjs';
import { until } from './lib/until.mjs';

/** With the own one it is a page of 25. */
const OTHERS = 24;
const LOOK_MS = 20_000;
const PEOPLE_MAX = 6;
/** Somebody comes or goes so often. */
const CHANGE_MS = 3000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Ten seconds of 320 x 180, encoded once: those who publish it take next to nothing of the processor. */
function film() {
  const path = `${OUT}film-180p.webm`;
  if (existsSync(path)) return path;
  const ffmpeg = execFileSync('target/tools/native/bin/python', ['-c', 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())']).toString().trim();
  const source = ['-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=15:duration=10', '-f', 'lavfi', '-i', 'sine=duration=10'];
  execFileSync(ffmpeg, ['-loglevel', 'error', ...source, '-c:v', 'libvpx', '-b:v', '150k', '-g', '30', '-c:a', 'libopus', '-ac', '2', path]);
  return path;
}

const server = await startServer();
const browser = await chromium();
const path = film();

/** Somebody who publishes the film. */
function publisher(room, number) {
  const url = `${server.url}/whip/${room}?identity=p${number}&name=P${number}`;
  return spawn(BINARY, ['publish', '--loop', '--url', url, path], { stdio: 'ignore' });
}

/** Runs in the page: UI frames and decoded pictures of so many milliseconds. */
async function frames(ms) {
  const videos = [...document.querySelectorAll('video')].filter((video) => video.videoWidth > 0);
  const decoded = () => videos.reduce((sum, video) => sum + video.getVideoPlaybackQuality().totalVideoFrames, 0);
  const before = decoded();
  const times = [];
  await new Promise((resolve) => {
    const end = performance.now() + ms;
    const frame = (now) => (times.push(now) && now < end ? requestAnimationFrame(frame) : resolve(undefined));
    requestAnimationFrame(frame);
  });
  const gaps = times.slice(1).map((time, i) => time - times[i]).sort((a, b) => a - b);
  const seconds = (times.at(-1) - times[0]) / 1000;
  return { videos: videos.length, ui: gaps.length / seconds, late: gaps.filter((gap) => gap > 25).length / gaps.length, longest: gaps.at(-1), decoded: (decoded() - before) / seconds };
}

/** Runs in the page: joins with nothing but the library, and plays everybody in a bare grid. */
async function bare(room) {
  const { connect } = await import('/client/index.js');
  document.body.style.cssText = 'margin: 0; display: grid; grid-template-columns: repeat(5, 1fr)';
  const joined = await connect(`ws://${location.host}/ws`, { room, name: 'bare' });
  const play = ({ track, stream }) => {
    const element = Object.assign(document.createElement(track.kind), { autoplay: true, muted: track.kind === 'video', srcObject: stream });
    element.style.width = '100%';
    document.body.append(element);
  };
  joined.on('tracksubscribed', play);
  for (const { tracks } of joined.participants.values()) for (const track of tracks.values()) if (track.stream) play({ track, stream: track.stream });
}

async function tiles() {
  const publishers = Array.from({ length: OTHERS }, (_, number) => publisher('tiles', number));
  const report = async (name, page) => {
    await until(`${OTHERS} pictures`, () => page.evaluate((wanted) => {
      const there = [...document.querySelectorAll('video')].filter((video) => video.videoWidth > 0).length;
      return there >= wanted || { error: there };
    }, OTHERS));
    await sleep(3000);
    const { videos, ui, late, longest, decoded } = await page.evaluate(frames, LOOK_MS);
    console.log(`${name}: ${videos} videos, ${ui.toFixed(1)} UI frames/s, ${(100 * late).toFixed(1)} % later than 25 ms, longest gap ${Math.round(longest)} ms, ${decoded.toFixed(0)} pictures/s decoded`);
    await page.close();
  };
  for (const round of [1, 2, 3]) {
    const page = await (await browser.createBrowserContext()).newPage();
    await page.setViewport({ width: 1920, height: 1080 });
    await page.goto(`${server.url}/healthz`);
    await page.evaluate(bare, 'tiles');
    await report(`${round} bare`, page);
    const person = await Participant.open(browser, `${server.url}/?room=tiles&name=viewer&autojoin=1&cam=0&mic=0`, { index: 0 });
    await person.page.setViewport({ width: 1920, height: 1080 });
    await person.untilJoined();
    await report(`${round} meeting`, person.page);
  }
  for (const child of publishers) child.kill('SIGINT');
}

/** Resident memory of a process, MB. */
const residentMb = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1000;

async function memory(minutes) {
  const person = await Participant.join(browser, { url: server.url, room: 'long', index: 0, width: 320, height: 180, fps: 10 });
  const { page } = person;
  const session = await page.createCDPSession();
  const { processInfo } = await (await browser.target().createCDPSession()).send('SystemInfo.getProcessInfo');
  const renderers = processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  const busiest = () => Math.max(...renderers.filter((pid) => existsSync(`/proc/${pid}`)).map(residentMb));
  const people = [];
  let number = 0;
  const end = performance.now() + minutes * 60_000;
  for (let minute = 0; performance.now() < end; minute++) {
    await session.send('HeapProfiler.collectGarbage');
    const { usedSize } = await session.send('Runtime.getHeapUsage');
    const { nodes, jsEventListeners } = await session.send('Memory.getDOMCounters');
    const sections = await page.evaluate(() => window.switchyard.room.peerConnection.getTransceivers().length);
    console.log(
      `minute ${minute}: ${number} came, heap ${(usedSize / 1e6).toFixed(1)} MB, ${nodes} nodes, ${jsEventListeners} listeners, ${sections} transceivers, ` +
        `renderer ${busiest().toFixed(0)} MB, server ${residentMb(server.pid).toFixed(0)} MB`,
    );
    const next = performance.now() + 60_000;
    while (performance.now() < Math.min(next, end)) {
      if (people.length < PEOPLE_MAX && (people.length < 2 || Math.random() < 0.5)) people.push(publisher('long', number++));
      else people.splice(Math.floor(Math.random() * people.length), 1)[0].kill(Math.random() < 0.8 ? 'SIGINT' : 'SIGKILL');
      if (number % 5 === 0) spawn(BINARY, ['bot', server.url, '--room', 'long', '--say', `hello ${number}`], { stdio: 'ignore' });
      await sleep(CHANGE_MS);
    }
  }
  for (const child of people) child.kill('SIGINT');
}

const [what, minutes = '30'] = process.argv.slice(2);
if (what === 'tiles') await tiles();
else if (what === 'memory') await memory(Number(minutes));
else console.error('usage: meeting_figures.mjs tiles | memory [minutes]');
await browser.close();
await server.stop();
process.exit(what ? 0 : 2);
