/** Screens shared and taken back by several people at once, again and again: the lists end equal, and so do the pictures. */
import assert from 'node:assert/strict';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const ROOM = 'screens';
const CHANGES = 20;
/** With sections of one shape reused, sharing 20 times does not add 20 sections. */
const SECTIONS_MAX = 40;

const sharing = scene();
const people = [];
let browser;

sharing.test('a screen is shared and taken back with the page’s button', async () => {
  browser = await sharing.browser();
  for (const index of [0, 1, 2]) people.push(await sharing.join(browser, ROOM, index));
  await meet(people);
  const [ada, bob, eve] = people;
  await ada.click('toggle-screen');
  await bob.sees(ada, { source: 'screen_share', device: 'screen' });
  await eve.sees(ada, { source: 'screen_share', device: 'screen' });
  await bob.screenshot('screen-share');
  await ada.click('toggle-screen');
  await bob.misses(ada, 'screen_share');
  await eve.misses(ada, 'screen_share');
});

/** Runs in the page: `changes` times, shares a screen or takes one back, as the seeded dice say. */
async function shareAtRandom(changes, seed) {
  const { room } = window.switchyard;
  const dice = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
  const shared = [];
  for (let change = 0; change < changes; change++) {
    if (shared.length === 0 || (shared.length < 2 && dice() < 0.5)) {
      const [track] = (await navigator.mediaDevices.getDisplayMedia()).getVideoTracks();
      shared.push(await room.publish(track, { source: 'screen_share' }));
    } else {
      const [local] = shared.splice(Math.floor(dice() * shared.length), 1);
      local.mediaStreamTrack.stop();
      await room.unpublish(local);
    }
  }
  return shared.length;
}

sharing.test(`${CHANGES} changes each by three people at once leave everybody with the same view`, async (t) => {
  const left = await Promise.all(people.map(({ page, index }) => page.evaluate(shareAtRandom, CHANGES, 7 + index)));
  t.diagnostic(`screens left: ${left}`);
  // The list that a newcomer gets is the server's own.
  const witness = await sharing.join(browser, ROOM, 3, { query: '&cam=0&mic=0' });
  const expected = Object.fromEntries(
    people.map(({ id }, i) => [id, ['camera', 'microphone', ...Array(left[i]).fill('screen_share')]]),
  );
  for (const person of [...people, witness]) {
    await until(`${person.name}'s list to be right`, async () => {
      const view = await person.view();
      delete view[witness.id];
      return JSON.stringify(sorted(view)) === JSON.stringify(sorted(expected)) ? true : { error: view, expected };
    });
  }
  for (const person of [...people, witness]) {
    // Where everybody fits beside the screens: nobody is on a further page.
    await person.page.setViewport({ width: 2200, height: 1400 });
    for (const [i, other] of people.entries()) {
      if (other === person) continue;
      const tiles = await until(`${left[i]} screens of ${other.name} at ${person.name}`, async () => {
        const found = await person.page.$$(person.tileOf(other, 'screen_share'));
        return found.length === left[i] ? { found } : { error: found.length };
      });
      if (tiles.found.length > 0) await person.sees(other, { source: 'screen_share', device: 'screen' });
      await person.sees(other);
      await person.hears(other);
    }
    const sections = await person.page.evaluate(() => window.switchyard.room.peerConnection.getTransceivers().length);
    assert.ok(sections <= SECTIONS_MAX, `${person.name} has ${sections} media sections`);
  }
});

function sorted(view) {
  return Object.fromEntries(Object.entries(view).sort());
}
