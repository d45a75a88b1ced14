/**
 * @module
 * Puts the tiles where `layout.js` says, turns pages, and keeps what was chosen: the layout, and a pinned tile. Tiles of other pages are hidden, so that
 * the server sends nothing for them.
 */
import { button, element, label } from './dom.js';
import { recall, remember } from './client/storage.js';
import { arrange } from './layout.js';
import { announce } from './notices.js';
import { t } from './language.js';

/** @typedef {import('./layout.js').Mode} Mode */
/** @typedef {import('./layout.js').Arrangement} Arrangement */
/** @typedef {{key: string, participant: string, own: boolean, screen: boolean, name: () => string, element: HTMLElement}} Placed */

/** @type {Mode[]} */
const MODES = ['auto', 'grid', 'speaker'];
/** Smaller tiles have smaller letters. */
const TINY = { width: 200, height: 120 };
/** Names on a page button. */
const NAMES_MAX = 2;

export class Grid {
  #stage = element('stage');
  #frame = 0;
  /** In the order of their places. @type {Placed[]} */
  #placed = [];
  /** @type {Mode} */
  #mode = MODES.find((mode) => mode === recall('localStorage', 'layout')) ?? 'auto';
  #pinned = '';
  /** Who spoke last, of the others; and when anybody did. */
  #speaker = '';
  /** @type {Map<string, number>} */
  #spoke = new Map();
  #page = 0;
  /** @type {Arrangement | null} */
  #arrangement = null;
  #changed;
  #sizes = new ResizeObserver(() => this.layout());

  /** @param {() => void} changed another tile is featured, or another layout chosen */
  constructor(changed) {
    this.#changed = changed;
    this.#sizes.observe(this.#stage);
    button('page-back').onclick = () => this.turn(-1);
    button('page-on').onclick = () => this.turn(1);
  }

  get mode() {
    return this.#mode;
  }

  /** @param {string} key */
  isPinned(key) {
    return this.#pinned === key;
  }

  /** The next layout. */
  switchMode() {
    this.#mode = MODES[(MODES.indexOf(this.#mode) + 1) % MODES.length];
    this.#page = 0;
    remember('localStorage', 'layout', this.#mode);
    this.layout();
  }

  /** Keeps a tile large, or lets it go. @param {string} key */
  pin(key) {
    this.#pinned = this.#pinned === key ? '' : key;
    this.layout();
    this.#changed();
  }

  /** @param {number} pages */
  turn(pages) {
    if (!this.#arrangement || this.#arrangement.pages < 2) return;
    this.#page = Math.min(this.#arrangement.pages - 1, Math.max(0, this.#page + pages));
    this.#place();
    announce(element('page-words').textContent ?? '');
  }

  /** @param {Placed} placed */
  add(placed) {
    if (placed.own) this.#placed.unshift(placed);
    else this.#placed.push(placed);
    placed.element.hidden = true;
    // As in most layouts; `#order` does the rest.
    element('tiles').insertBefore(placed.element, placed.own ? null : (this.#placed.find(({ own }) => own)?.element ?? null));
    this.layout();
  }

  /** @param {string} key */
  remove(key) {
    this.#placed.find((placed) => placed.key === key)?.element.remove();
    this.#placed = this.#placed.filter((placed) => placed.key !== key);
    if (this.#pinned === key) this.#pinned = '';
    this.layout();
  }

  /** @param {string[]} participants who speak now, the loudest first */
  hear(participants) {
    const people = this.#placed.filter(({ own, screen }) => !own && !screen);
    const speaking = participants.flatMap((id) => people.find(({ participant }) => participant === id) ?? []);
    for (const { key } of speaking) this.#spoke.set(key, performance.now());
    // Whoever is shown stays while speaking: two who talk at the same time do not flicker.
    if (speaking.length > 0 && !speaking.some(({ key }) => key === this.#speaker)) this.#speaker = speaking[0].key;
    for (const { key } of speaking) this.#bringForward(key);
    this.layout();
  }

  clear() {
    cancelAnimationFrame(this.#frame);
    this.#sizes.disconnect();
    element('tiles').replaceChildren();
    element('pager').hidden = true;
  }

  /** Once per frame, however often it is asked for. */
  layout() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#place());
  }

  /** Who speaks belongs on the first page, in place of whoever there has been silent longest. @param {string} key */
  #bringForward(key) {
    const { pages = 1, size = 0, paged = [] } = this.#arrangement ?? {};
    if (pages < 2 || paged.indexOf(key) < size) return;
    const spoke = /** @param {string} one */ (one) => this.#spoke.get(one) ?? 0;
    const silent = paged.slice(0, size).reduce((best, one) => (spoke(one) < spoke(best) ? one : best));
    const [from, to] = [key, silent].map((one) => this.#placed.findIndex((placed) => placed.key === one));
    if (from < 0 || to < 0) return;
    [this.#placed[from], this.#placed[to]] = [this.#placed[to], this.#placed[from]];
    paged.splice(paged.indexOf(key), 1, silent);
    paged.splice(paged.indexOf(silent), 1, key);
  }

  #place() {
    const { clientWidth: width, clientHeight: height } = this.#stage;
    if (width === 0 || height === 0) return;
    const featured = this.#arrangement?.featured.join() ?? '';
    const arrangement = arrange({ width, height, tiles: this.#placed, mode: this.#mode, pinned: this.#pinned, speaker: this.#speaker, page: this.#page });
    this.#arrangement = arrangement;
    this.#page = arrangement.page;
    for (const { key, element: tile } of this.#placed) {
      const box = arrangement.boxes.get(key);
      tile.hidden = box === undefined;
      if (!box) continue;
      Object.assign(tile.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width}px`, height: `${box.height}px` });
      tile.classList.toggle('tiny', box.width < TINY.width || box.height < TINY.height);
      tile.classList.toggle('floating', key === arrangement.floating);
    }
    this.#order(arrangement);
    this.#showPager(arrangement);
    if (featured !== arrangement.featured.join()) this.#changed();
  }

  /**
   * The focus and screen readers go from tile to tile as eyes do. Moved so that nothing stops or loses the focus; where the browser has no
   * such thing, they stay.
   * @param {Arrangement} arrangement
   */
  #order({ boxes, featured, floating }) {
    const tiles = /** @type {HTMLElement & {moveBefore?: (moved: Node, before: Node | null) => void}} */ (element('tiles'));
    if (!tiles.moveBefore) return;
    const rank = /** @param {string} key */ (key) => (featured.includes(key) ? 0 : key === floating ? 2 : 1);
    const shown = this.#placed.flatMap(({ key, element: tile }) => {
      const box = boxes.get(key);
      return box ? [{ tile, rank: rank(key), ...box }] : [];
    });
    shown.sort((one, other) => one.rank - other.rank || one.y - other.y || one.x - other.x);
    for (const [index, { tile }] of shown.entries()) {
      if (tiles.children[index] !== tile) tiles.moveBefore(tile, tiles.children[index]);
    }
  }

  /** @param {Arrangement} arrangement */
  #showPager({ pages, page, size, paged }) {
    element('pager').hidden = pages < 2;
    if (pages < 2) return;
    const names = /** @param {number} of a page */ (of) => {
      const there = paged.slice(of * size, (of + 1) * size).map((key) => this.#placed.find((placed) => placed.key === key)?.name() ?? '');
      const more = there.length - NAMES_MAX;
      return more > 0 ? t('{names} and {more} more', { names: there.slice(0, NAMES_MAX).join(', '), more }) : there.join(', ');
    };
    const [first, last] = [page * size + 1, Math.min(paged.length, (page + 1) * size)];
    const focused = document.activeElement;
    element('page-words').textContent = first === last ? t('{first} of {count}', { first, count: paged.length }) : t('{first}–{last} of {count}', { first, last, count: paged.length });
    for (const [id, of] of /** @type {const} */ ([['page-back', page - 1], ['page-on', page + 1]])) {
      const there = of >= 0 && of < pages;
      button(id).disabled = !there;
      element(`${id}-names`).textContent = there ? names(of) : '';
      const back = id === 'page-back';
      label(button(id), back ? t('Back to {names}', { names: names(of) }) : t('On to {names}', { names: names(of) }), back ? t('Page up') : t('Page down'));
    }
    // A button that is disabled loses the focus; the other one is not.
    const [back, on] = [button('page-back'), button('page-on')];
    if (focused === back && back.disabled) on.focus();
    if (focused === on && on.disabled) back.focus();
  }
}
