/** Clients that are no browsers, each in a room with a Chromium: they see and hear each other. */
import { participant } from './lib/programs.mjs';
import { scene } from './lib/scene.mjs';

const native = scene();
let browser;

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
    await person.screenshot(`native-${library}`);
    program.child.stdin.end();
    await person.misses(program);
    await person.close();
  });
}
