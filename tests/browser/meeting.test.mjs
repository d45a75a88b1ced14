/** Three Chromiums and one Firefox in one room: everybody's picture and tone in the right place at everybody else. */
import assert from 'node:assert/strict';
import { meet } from './lib/participant.mjs';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const ROOM = 'meeting';

const meeting = scene();
const people = [];

meeting.test('three Chromiums and a Firefox see and hear each other', async (t) => {
  for (const [index, kind] of ['chromium', 'chromium', 'firefox', 'chromium'].entries()) {
    people.push(await meeting.join(await meeting.browser(kind), ROOM, index));
  }
  await meet(people, { deadlineMs: 40_000 });
  for (const person of people) {
    t.diagnostic(`${person.name}: ${await person.firstFrameMs()} ms from join to the first decoded frame`);
    await person.screenshot(`meeting-${person.name}`);
  }
});

meeting.test('everybody knows the same tracks', async () => {
  const views = await until('equal lists', async () => {
    const all = await Promise.all(people.map((person) => person.view()));
    return all.every((view) => Object.keys(view).length === people.length) ? all : { error: all };
  });
  for (const view of views) {
    assert.deepEqual(sorted(view), sorted(views[0]));
    for (const sources of Object.values(view)) assert.deepEqual(sources, ['camera', 'microphone']);
  }
});

meeting.test('a late Firefox gets everything, and its leaving is seen by all', async () => {
  const late = await meeting.join(await meeting.browser('firefox'), ROOM, 4);
  for (const person of people) {
    await late.sees(person, { deadlineMs: 40_000 });
    await late.hears(person);
    await person.sees(late, { deadlineMs: 40_000 });
  }
  await late.click('leave');
  for (const person of people) await person.misses(late, undefined, 3000);
});

function sorted(view) {
  return Object.fromEntries(Object.entries(view).sort());
}
