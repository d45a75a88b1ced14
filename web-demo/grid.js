/**
 * @module
 * Fits any number of tiles into any window: people alone in a grid, or shared screens large with the people in a strip.
 */
import { element } from './dom.js';

const GAP = 8;
const WIDEST = 16 / 9;
/** Share of the stage that the strip of people takes beside a shared screen. */
const STRIP_SHARE = 0.2;
const STRIP_MIN = 96;
const STRIP_MAX = 260;

/**
 * The number of columns and the tile size that show `count` tiles largest.
 * @param {number} count
 * @param {number} width
 * @param {number} height
 * @param {number} narrowest smallest width/height a tile may have
 */
export function bestGrid(count, width, height, narrowest) {
  let best = { columns: 1, width: 0, height: 0 };
  for (let columns = 1; columns <= Math.max(1, count); columns++) {
    const rows = Math.ceil(count / columns);
    const cellWidth = (width - GAP * (columns - 1)) / columns;
    const cellHeight = (height - GAP * (rows - 1)) / rows;
    if (cellWidth <= 0 || cellHeight <= 0) continue;
    const aspect = Math.min(WIDEST, Math.max(narrowest, cellWidth / cellHeight));
    const tileWidth = Math.floor(Math.min(cellWidth, cellHeight * aspect));
    const tileHeight = Math.floor(Math.min(cellHeight, cellWidth / aspect));
    if (tileWidth * tileHeight > best.width * best.height) best = { columns, width: tileWidth, height: tileHeight };
  }
  return best;
}

export class Grid {
  #stage = element('stage');
  #people = element('people');
  #screens = element('screens');
  #frame = 0;

  constructor() {
    new ResizeObserver(() => this.layout()).observe(this.#stage);
  }

  /**
   * @param {HTMLElement} tile
   * @param {{large: boolean, first: boolean}} where large: on the area for shared screens
   */
  add(tile, { large, first }) {
    const area = large ? this.#screens : this.#people;
    if (first) area.prepend(tile);
    else area.append(tile);
    this.layout();
  }

  /** @param {HTMLElement} tile */
  remove(tile) {
    tile.remove();
    this.layout();
  }

  clear() {
    this.#people.replaceChildren();
    this.#screens.replaceChildren();
  }

  /** Once per frame, however often it is asked for. */
  layout() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#place());
  }

  #place() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    if (width === 0 || height === 0) return;
    const sharing = this.#screens.childElementCount > 0;
    this.#screens.hidden = !sharing;
    const wide = width >= height;
    this.#stage.classList.toggle('sharing', sharing);
    this.#stage.classList.toggle('wide', wide);
    const narrowest = wide ? 4 / 3 : 3 / 4;
    if (!sharing) {
      size(this.#people, width, height, narrowest);
      return;
    }
    const strip = Math.min(STRIP_MAX, Math.max(STRIP_MIN, (wide ? width : height) * STRIP_SHARE));
    const rest = (wide ? width : height) - strip - GAP;
    size(this.#screens, wide ? rest : width, wide ? height : rest, 4 / 3);
    size(this.#people, wide ? strip : width, wide ? height : strip, 1);
  }
}

/**
 * @param {HTMLElement} area
 * @param {number} width
 * @param {number} height
 * @param {number} narrowest
 */
function size(area, width, height, narrowest) {
  const best = bestGrid(area.childElementCount, width, height, narrowest);
  const { style } = area;
  style.width = `${width}px`;
  style.height = `${height}px`;
  style.setProperty('--tile-width', `${best.width}px`);
  style.setProperty('--tile-height', `${best.height}px`);
  area.classList.toggle('tiny', best.width < 150 || best.height < 90);
}
