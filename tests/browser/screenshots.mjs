/**
 * Screenshots of every page, at the size of a phone and of a large desk, light and dark, into tests/.out/screenshots; with `readme` the one that the
 * README shows, into web-demo/.
 * tests/ns.sh node tests/browser/screenshots.mjs [state | readme]...
 */
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium } from './lib/browsers.mjs';
import { Participant } from './lib/participant.mjs';
import { OUT, startServer } from './lib/server.mjs';
import { Stage, show } from './lib/stage.mjs';
import { SCENES } from './lib/states.mjs';

const SIZES = [
  { width: 360, height: 740 },
  { width: 1920, height: 1080 },
];
/** Pictures and transitions come to rest. */
const REST_MS = 1000;

/** By state: where something else is to be seen. */
const MORE_SIZES = { 'room-nine': [{ width: 3840, height: 2160 }] };

const wanted = process.argv.slice(2);
const directory = `${OUT}screenshots/`;
mkdirSync(directory, { recursive: true });
const server = await startServer();
const browser = await chromium();
const stage = new Stage(browser, server.url);
const isWanted = ({ name }) => wanted.length === 0 || wanted.includes(name);
for (const scene of SCENES) {
  const last = scene.states.findLastIndex(isWanted);
  if (last < 0) continue;
  try {
    await stage.open(scene, { ...SIZES[0], scheme: 'light' });
    for (const state of scene.states.slice(0, last + 1)) {
      await stage.enter(state);
      if (isWanted(state)) await shoot(state);
    }
  } catch (error) {
    // The other pages are worth looking at nevertheless.
    console.error(`${scene.states[0].name} and what comes after:`, error);
    process.exitCode = 1;
  }
  await stage.leave();
}
if (wanted.includes('readme')) console.log(await pictureOfMeeting());
await browser.close();
await stage.end();
await server.stop();

async function shoot({ name, phone }) {
  const sizes = [...SIZES, ...(MORE_SIZES[name] ?? [])];
  for (const size of phone ? SIZES.slice(0, 1) : sizes) {
    for (const scheme of /** @type {const} */ (['light', 'dark'])) {
      await show(stage.page, { ...size, scheme });
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      const path = `${directory}${name}-${size.width}-${scheme}.png`;
      await stage.page.screenshot({ path });
      console.log(path);
    }
  }
  await show(stage.page, { ...SIZES[0], scheme: 'light' });
}

/** Some people talk: a picture of what a meeting looks like. */
async function pictureOfMeeting() {
  const people = [];
  for (const [index, name] of ['Clara', 'Farid', 'Mei', 'Jonas', 'Ada'].entries()) {
    const address = `${server.url}/?room=weekly&name=${name}&autojoin=1&mic=${index === 1 ? 1 : 0}`;
    const person = await Participant.open(browser, address, { index, before: paintPerson });
    // The others need not see much.
    await person.page.setViewport(name === 'Ada' ? { width: 1280, height: 720 } : { width: 400, height: 300 });
    await person.untilJoined();
    people.push(person);
  }
  const ada = people.at(-1);
  for (const other of people.slice(0, -1)) {
    await ada.page.waitForFunction((selector) => document.querySelector(selector)?.videoWidth >= 320, {}, `${ada.tileOf(other)} video`);
  }
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const path = fileURLToPath(new URL('../../web-demo/meeting.png', import.meta.url));
  await ada.page.screenshot({ path });
  return path;
}

/** Runs in the page before its scripts: the camera shows somebody, drawn. */
function paintPerson() {
  const name = new URLSearchParams(location.search).get('name');
  const hue = [...name].reduce((sum, letter) => sum + letter.charCodeAt(0) * 37, 0) % 360;
  const devices = navigator.mediaDevices;
  const original = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (constraints) => {
    const stream = await original(constraints);
    if (!constraints.video) return stream;
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
    const context = canvas.getContext('2d');
    context.scale(0.5, 0.5);
    const paint = () => {
      const wall = context.createLinearGradient(0, 0, 1280, 720);
      wall.addColorStop(0, `hsl(${hue} 38% 72%)`);
      wall.addColorStop(1, `hsl(${(hue + 40) % 360} 34% 42%)`);
      context.fillStyle = wall;
      context.fillRect(0, 0, 1280, 720);
      context.fillStyle = `hsl(${(hue + 180) % 360} 30% 30%)`;
      context.beginPath();
      context.ellipse(640, 760, 330, 290, 0, 0, 7);
      context.fill();
      context.fillStyle = `hsl(${20 + (hue % 16)} 45% ${48 + (hue % 28)}%)`;
      context.beginPath();
      context.ellipse(640, 330, 125, 155, 0, 0, 7);
      context.fill();
      context.fillStyle = `hsl(${hue % 40} 35% 18%)`;
      context.beginPath();
      context.ellipse(640, 265, 140, 110, 0, Math.PI, 0);
      context.fill();
    };
    paint();
    setInterval(paint, 200);
    for (const track of stream.getVideoTracks()) stream.removeTrack(track);
    stream.addTrack(canvas.captureStream(5).getVideoTracks()[0]);
    return stream;
  };
}
