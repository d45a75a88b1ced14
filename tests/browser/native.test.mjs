/** Clients that are no browsers, each in a room with a Chromium: they see and hear each other. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';
import { scene } from './lib/scene.mjs';
import { PICTURE, colourOf, toneOf } from './lib/synthetic.mjs';
import { until } from './lib/until.mjs';

const PYTHON = fileURLToPath(new URL('../../target/tools/native/bin/python', import.meta.url));
const PROGRAM = fileURLToPath(new URL('native/participant.py', import.meta.url));

const native = scene();
const programs = [];
after(() => programs.forEach((program) => program.child.kill('SIGKILL')));
let browser;

/** Starts participant.py; what it saw and heard last is in `seen` and `heard`. */
function start(library, room, index) {
  const { url } = native.server;
  const args = ['--library', library, '--url', `${url.replace('http', 'ws')}/ws`, '--room', room, '--name', library];
  const child = spawn(PYTHON, [PROGRAM, ...args, '--index', index, '--tone', toneOf(index), '--picture', JSON.stringify(PICTURE)], {
    env: { ...process.env, PYTHONUNBUFFERED: '1' },
  });
  const program = { child, index, name: library, id: '', seen: [], heard: [], errors: '' };
  programs.push(program);
  let rest = '';
  child.stdout.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.joined) program.id = event.joined;
      if (event.seen) program.seen.push(event.seen);
      if (event.heard) program.heard.push(event.heard);
    }
  });
  child.stderr.on('data', (data) => (program.errors += data));
  return program;
}

for (const library of ['aiortc', 'wrtc']) {
  native.test(`${library} and Chromium see and hear each other`, async () => {
    browser ??= await native.browser();
    const person = await native.join(browser, library, 0);
    const program = start(library, library, 1);
    await until(`${library} to join`, () => {
      if (program.child.exitCode !== null) throw new Error(`it ended:\n${program.errors.slice(-3000)}`);
      return program.id !== '';
    });
    await person.sees(program);
    await person.hears(program);
    await until(`${library} to see Chromium moving`, () => {
      const right = program.seen.filter(({ index, colour }) => index === 0 && colour === colourOf(0, 'camera'));
      const moving = right.length > 10 && new Set(right.map(({ counter }) => counter)).size > 5;
      return moving ? true : { error: program.seen.slice(-3), stderr: program.errors.slice(-1000) };
    });
    await until(`${library} to hear Chromium`, () =>
      program.heard.some(({ hertz }) => Math.abs(hertz - toneOf(0)) < 20) ? true : { error: program.heard.slice(-3) },
    );
    await person.screenshot(`native-${library}`);
    program.child.stdin.end();
    await person.misses(program);
    await person.close();
  });
}
