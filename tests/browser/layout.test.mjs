/** Where the tiles of a meeting go, at every size of window and meeting: geometry, so no browser takes part. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LOWEST, NARROWEST, PAGER, arrange } from '../../web-demo/layout.js';

/** Of the stage: phones upright and lying, tablets, desks, 4K. */
const STAGES = [
  [344, 660],
  [724, 284],
  [752, 940],
  [1264, 640],
  [1904, 1000],
  [3824, 2080],
];
const OTHERS = [0, 1, 2, 3, 4, 8, 24, 199];

const meeting = (others, screens = 0) => [
  ...Array.from({ length: screens }, (_, index) => ({ key: `screen ${index}`, own: false, screen: true })),
  { key: 'own', own: true, screen: false },
  ...Array.from({ length: others }, (_, index) => ({ key: `p${index}`, own: false, screen: false })),
];
const wish = (width, height, tiles, more = {}) => ({ width, height, tiles, mode: 'auto', pinned: '', speaker: '', page: 0, ...more });
const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
const keysOn = (arrangement) => [...arrangement.boxes.keys()].filter((key) => key !== 'own' && !arrangement.featured.includes(key));

/** What holds for every arrangement. */
function check(asked, arrangement, what) {
  const { boxes, floating, pages } = arrangement;
  const bottom = asked.height - (pages > 1 ? PAGER : 0);
  for (const [key, { x, y, width, height }] of boxes) {
    assert.ok(x >= 0 && y >= 0 && x + width <= asked.width && y + height <= bottom, `${what}: ${key} overflows: ${x} ${y} ${width} ${height}`);
    assert.ok(width >= NARROWEST && height >= LOWEST, `${what}: ${key} cannot be read: ${width}×${height}`);
    assert.ok(width / height <= 1.8 && width / height >= 0.56, `${what}: ${key} is ${width}×${height}`);
  }
  const flat = [...boxes].filter(([key]) => key !== floating);
  for (const [index, [key, box]] of flat.entries()) {
    for (const [other, otherBox] of flat.slice(index + 1)) assert.ok(!overlap(box, otherBox), `${what}: ${key} covers ${other}`);
  }
}

/** What every way to look at a meeting looks like. */
const LOOKS = [
  ['grid', 0, { mode: 'grid' }],
  ['auto', 0, {}],
  ['speaker', 0, { mode: 'speaker', speaker: 'p1' }],
  ['pinned', 0, { pinned: 'p0' }],
  ['a screen', 1, {}],
  ['three screens', 3, {}],
  ['screens in the grid', 2, { mode: 'grid' }],
];

for (const [look, screens, more] of LOOKS) {
  test(`${look}: everybody has a place on one page, readable, inside, and beside the others`, () => {
    for (const [width, height] of STAGES) {
      for (const others of OTHERS) {
        const tiles = meeting(others, screens);
        const seen = [];
        let pages = 1;
        for (let page = 0; page < pages; page++) {
          const asked = wish(width, height, tiles, { ...more, page });
          const arrangement = arrange(asked);
          pages = arrangement.pages;
          assert.equal(arrangement.page, page);
          check(asked, arrangement, `${others} others in ${width}×${height}, page ${page + 1} of ${pages}`);
          seen.push(...keysOn(arrangement));
          if (page === 0) seen.push(...arrangement.featured.filter((key) => key !== 'own'));
          assert.ok(arrangement.boxes.has('own'), `the own tile is on page ${page + 1} of ${pages} of ${width}×${height}`);
        }
        assert.deepEqual(seen.toSorted(), tiles.filter(({ own }) => !own).map(({ key }) => key).toSorted(), `${others} others in ${width}×${height}`);
      }
    }
  });
}

test('two people: the other is large, and the own picture small in its corner', () => {
  for (const [width, height] of STAGES) {
    const { boxes, floating, featured } = arrange(wish(width, height, meeting(1)));
    assert.deepEqual([floating, featured], ['own', ['p0']]);
    assert.ok(boxes.get('own').width < boxes.get('p0').width / 2);
  }
});

test('25 people are on one page of a desk', () => {
  for (const [width, height] of STAGES.slice(3)) assert.equal(arrange(wish(width, height, meeting(24))).pages, 1);
});

test('200 people are on pages of equal size, of which none is beyond the last', () => {
  const { pages, size, page } = arrange(wish(1264, 640, meeting(199), { page: 999 }));
  assert.equal(page, pages - 1);
  assert.equal(pages, Math.ceil(199 / size));
});

test('what is pinned stays large, whatever else is shared or said', () => {
  const { featured } = arrange(wish(1264, 640, meeting(5, 1), { pinned: 'p3', mode: 'speaker', speaker: 'p1' }));
  assert.deepEqual(featured, ['p3']);
  assert.deepEqual(arrange(wish(1264, 640, meeting(5), { pinned: 'gone' })).featured, []);
});

test('the speaker layout shows who speaks', () => {
  assert.deepEqual(arrange(wish(1264, 640, meeting(5), { mode: 'speaker', speaker: 'p4' })).featured, ['p4']);
  assert.deepEqual(arrange(wish(1264, 640, meeting(5), { mode: 'speaker', speaker: 'own' })).featured, ['p0']);
});
