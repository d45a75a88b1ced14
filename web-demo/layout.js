/**
 * @module
 * Where each tile goes: pure geometry, so that every size of window and meeting can be tested without a browser.
 *
 * People alone stand in a grid, as large as they fit. A pinned tile, shared screens, or in the speaker layout whoever speaks stand large
 * ("featured"), and everybody else in a strip. What does not fit in a readable size is on further pages. The own tile is on every
 * page; with one tile beside it, it lies small over the corner.
 */

/** @typedef {'auto' | 'grid' | 'speaker'} Mode */
/** @typedef {{x: number, y: number, width: number, height: number}} Box */

/**
 * @typedef {object} Shown
 * @property {string} key
 * @property {boolean} own the own camera
 * @property {boolean} screen
 */

/**
 * @typedef {object} Wish
 * @property {number} width of the stage
 * @property {number} height
 * @property {Shown[]} tiles in the order of their places
 * @property {Mode} mode
 * @property {string} pinned key of the pinned tile, if any
 * @property {string} speaker key of the tile of whoever speaks, or spoke last
 * @property {number} page from 0
 */

/**
 * @typedef {object} Arrangement
 * @property {Map<string, Box>} boxes tiles that are not in it are not shown
 * @property {string[]} featured
 * @property {string} floating the own tile, if it lies over another
 * @property {string[]} paged keys of those who are on some page, in their order
 * @property {number} size how many of them a page has
 * @property {number} page
 * @property {number} pages
 */

export const GAP = 8;
/** The height of the bar with the page buttons. */
export const PAGER = 44;
/** Smaller than this a face is not recognised, and a name not read. */
export const NARROWEST = 140;
export const LOWEST = 84;
/** More pictures at once than this cost more than they tell. */
const PAGE_MAX = 25;
const WIDEST = 16 / 9;
/** Share of the stage that the strip of people takes. */
const STRIP_SHARE = 0.18;
const STRIP_MAX = 280;
const FLOATING_SHARE = 0.22;
const FLOATING_MAX = 320;

/**
 * @param {Wish} wish
 * @returns {Arrangement}
 */
export function arrange(wish) {
  const whole = place(wish);
  // The bar takes its height from the tiles, and with it come pages: never the other way round.
  return whole.pages > 1 ? place({ ...wish, height: wish.height - PAGER }, true) : whole;
}

/**
 * @param {Wish} wish
 * @param {boolean} [turns] there are pages for certain
 * @returns {Arrangement}
 */
function place(wish, turns = false) {
  const { width, height, tiles } = wish;
  const wide = width >= height;
  const featured = featuredOf(wish);
  const rest = tiles.filter(({ key }) => !featured.includes(key));
  const own = rest.find((tile) => tile.own);
  const others = rest.filter((tile) => tile !== own).map(({ key }) => key);
  const nothing = { featured, floating: '', paged: others, size: others.length, page: 0, pages: 1 };
  if (featured.length > 0 && others.length === 0) {
    const boxes = grid(featured, featured.length, { x: 0, y: 0, width, height }, wide);
    if (own) boxes.set(own.key, corner(width, height));
    return { ...nothing, boxes, floating: own?.key ?? '' };
  }
  const { area, strip } = divide(width, height, featured.length > 0);
  const room = strip ?? area;
  const fits = Math.max(1, strip ? stripFits(strip, wide) : gridFits(area, wide));
  const capacity = Math.max(1, own ? fits - 1 : fits);
  const pages = Math.max(turns ? 2 : 1, Math.ceil(others.length / capacity));
  const page = Math.min(Math.max(0, wish.page), pages - 1);
  const size = Math.ceil(others.length / pages);
  const here = others.slice(page * size, (page + 1) * size);
  const boxes = strip ? grid(featured, featured.length, area, wide) : new Map();
  // A last page with fewer has tiles of the same size, and where there is no place for two, nobody but the others has one.
  const keys = own && (fits > 1 || here.length === 0) ? [...here, own.key] : here;
  const most = own && keys.includes(own.key) ? size + 1 : size;
  for (const [key, box] of strip ? line(keys, room, wide) : grid(keys, most, room, wide)) boxes.set(key, box);
  return { ...nothing, boxes, size, page, pages };
}

/** What stands large. @param {Wish} wish @returns {string[]} */
function featuredOf({ tiles, mode, pinned, speaker }) {
  if (tiles.some(({ key }) => key === pinned)) return [pinned];
  const people = tiles.filter(({ screen }) => !screen);
  const screens = tiles.filter(({ screen }) => screen).map(({ key }) => key);
  const others = people.filter(({ own }) => !own);
  if (tiles.length === 1) return [tiles[0].key];
  if (mode === 'grid') return [];
  // Several at once are for those who know what they look for; the newest is what is talked about.
  if (screens.length > 0) return screens.slice(-2);
  if (others.length === 1) return [others[0].key];
  if (mode === 'speaker') return [(others.find(({ key }) => key === speaker) ?? others[0]).key];
  return [];
}

/**
 * The place of the featured tiles and that of the others beside or below them.
 * @param {number} width
 * @param {number} height
 * @param {boolean} features
 * @returns {{area: Box, strip: Box | null}}
 */
function divide(width, height, features) {
  if (!features) return { area: { x: 0, y: 0, width, height }, strip: null };
  if (width >= height) {
    const across = Math.ceil(Math.min(STRIP_MAX, Math.max(LOWEST * WIDEST, width * STRIP_SHARE)));
    const rest = width - across - GAP;
    return { area: { x: 0, y: 0, width: rest, height }, strip: { x: rest + GAP, y: 0, width: across, height } };
  }
  const down = Math.round(Math.min(STRIP_MAX / WIDEST, Math.max(LOWEST, height * STRIP_SHARE)));
  const rest = height - down - GAP;
  return { area: { x: 0, y: 0, width, height: rest }, strip: { x: 0, y: rest + GAP, width, height: down } };
}

/** Tiles one after the other fill a strip; two of them fit across a phone. @param {Box} strip @param {boolean} wide */
function stripTile({ width, height }, wide) {
  if (wide) return { width, height: Math.floor(width / WIDEST) };
  return { width: Math.max(NARROWEST, Math.floor(Math.min(height * WIDEST, (width - GAP) / 2))), height };
}

/** @param {Box} strip @param {boolean} wide */
function stripFits(strip, wide) {
  const tile = stripTile(strip, wide);
  return Math.floor(wide ? (strip.height + GAP) / (tile.height + GAP) : (strip.width + GAP) / (tile.width + GAP));
}

/** The most tiles that can be read. @param {Box} area @param {boolean} wide */
function gridFits({ width, height }, wide) {
  for (let count = PAGE_MAX; count > 1; count--) {
    if (isReadable(bestGrid(count, width, height, narrowest(wide, count)))) return count;
  }
  return 1;
}

/** One picture may be as high as a phone. @param {boolean} wide @param {number} count */
const narrowest = (wide, count) => (wide ? 4 / 3 : count === 1 ? 9 / 16 : 3 / 4);

/**
 * The number of columns and the tile size that show `count` tiles largest.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} least smallest width/height a tile may have
 */
export function bestGrid(count, width, height, least) {
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - GAP * (columns - 1)) / columns;
    const cellHeight = (height - GAP * (rows - 1)) / rows;
    if (cellWidth <= 0 || cellHeight <= 0) continue;
    const aspect = Math.min(WIDEST, Math.max(least, cellWidth / cellHeight));
    const tileWidth = Math.floor(Math.min(cellWidth, cellHeight * aspect));
    const tileHeight = Math.floor(Math.min(cellHeight, cellWidth / aspect));
    const tile = { columns, width: tileWidth, height: tileHeight };
    if (worth(tile) > worth(best)) best = tile;
  }
  return best;
}

/** The area; but nothing makes up for what cannot be read. @param {{width: number, height: number}} tile */
function worth({ width, height }) {
  return width * height * (isReadable({ width, height }) ? 1 : 1e-6);
}

/** @param {{width: number, height: number}} tile */
function isReadable({ width, height }) {
  return width >= NARROWEST && height >= LOWEST;
}

/**
 * Rows in the middle of the area, a last one with fewer in the middle of its row.
 * @param {string[]} keys
 * @param {number} count how many the tiles are sized for
 * @param {Box} area
 * @param {boolean} wide
 * @returns {Map<string, Box>}
 */
function grid(keys, count, area, wide) {
  const { columns, width, height } = bestGrid(count, area.width, area.height, narrowest(wide, count));
  const rows = Math.ceil(keys.length / columns);
  const top = area.y + Math.max(0, (area.height - rows * (height + GAP) + GAP) / 2);
  return new Map(
    keys.map((key, index) => {
      const row = Math.floor(index / columns);
      const inRow = Math.min(columns, keys.length - row * columns);
      const left = area.x + Math.max(0, (area.width - inRow * (width + GAP) + GAP) / 2);
      return [key, { x: Math.floor(left + (index % columns) * (width + GAP)), y: Math.floor(top + row * (height + GAP)), width, height }];
    }),
  );
}

/**
 * One after the other in the middle of a strip.
 * @param {string[]} keys
 * @param {Box} strip
 * @param {boolean} wide
 * @returns {Map<string, Box>}
 */
function line(keys, strip, wide) {
  const { width, height } = stripTile(strip, wide);
  const step = (wide ? height : width) + GAP;
  const start = Math.max(0, ((wide ? strip.height : strip.width) - keys.length * step + GAP) / 2);
  return new Map(
    keys.map((key, index) => {
      const along = Math.floor(start + index * step);
      return [key, wide ? { x: strip.x, y: strip.y + along, width, height } : { x: strip.x + along, y: strip.y, width, height }];
    }),
  );
}

/** Over the lower right corner, where no name stands. @param {number} width @param {number} height @returns {Box} */
function corner(width, height) {
  const across = Math.ceil(Math.min(FLOATING_MAX, Math.max(LOWEST * WIDEST, width * FLOATING_SHARE)));
  const down = Math.floor(across / WIDEST);
  return { x: width - across - GAP, y: height - down - GAP, width: across, height: down };
}
