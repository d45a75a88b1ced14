/** Clients that are no browsers, each in a room with a Chromium: they see and hear each other. */
import { execFileSync } from 'node:child_process';
import { participant } from './lib/programs.mjs';
import { scene } from './lib/scene.mjs';

const native = scene();
let browser;

/** Of a hundred datagrams two are lost, here and there, in both directions, for as long as it takes until twenty were. */
async function withLoss(body) {
  execFileSync('nft', ['table inet loss { chain out { type filter hook output priority 0; meta l4proto udp numgen random mod 100 < 2 counter drop; }; }']);
  const lost = () => Number(/counter packets (\d+)/.exec(execFileSync('nft', ['list table inet loss'], { encoding: 'utf8' }))[1]);
  try {
    do await body();
    while (lost() < 20);
  } finally {
    execFileSync('nft', ['delete table inet loss']);
  }
}

for (const library of ['aiortc', 'wrtc']) {
  native.test(`${library} and Chromium see and hear each other`, async () => {
    browser ??= await native.browser();
    const person = await native.join(browser, library, 0);
    const program = participant(library, native.server.url, library, 1);
    await program.started('id');
    await person.sees(program);
    await person.hears(program);
    await program.sees(0);
    await program.hears(0);
    await withLoss(async () => {
      await person.sees(program);
      await program.sees(0);
    });
    await person.screenshot(`native-${library}`);
    program.child.stdin.end();
    await person.misses(program);
    await person.close();
  });
}
