/** Brings a page into one state after another, with the others who belong to it. */
import { writeFileSync } from 'node:fs';
import { joinCrowd } from './crowd.mjs';
import { Cut } from './cut.mjs';
import { Participant } from './participant.mjs';
import { OUT, startServer } from './server.mjs';
import { until } from './until.mjs';

/** Of the server that lets nobody in without a token. */
export const KEY = { id: 'k', secret: '0123456789abcdef0123456789abcdef' };
/** Where that server is, and where it shows its figures. */
const GUARDED = 'http://127.0.0.1:8090';
const FIGURES = 'http://127.0.0.1:8095';

/**
 * At another size, in other colours.
 * @param {import('puppeteer-core').Page} page
 * @param {{width: number, height: number, scheme: 'light' | 'dark'}} look
 */
export async function show(page, { width, height, scheme }) {
  await page.setViewport({ width, height });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
}

/** @param {string} what a selector */
export const visible = (page, what) =>
  until(`${what} to be seen`, () => page.evaluate((selector) => document.querySelector(selector)?.checkVisibility() || { error: document.body.innerText.slice(0, 300) }, what));

export class Stage {
  /** The page that is looked at. @type {import('puppeteer-core').Page | null} */
  page = null;
  /** The others, those with pages. @type {Participant[]} */
  people = [];
  /** Those who are there until the end of the scene. @type {Participant[]} */
  guests = [];
  /** The way of the page to the server, where it can be cut. @type {Cut | null} */
  cut = null;
  #browser;
  #url;
  /** The room of `people`, who stay for the next scene if it is there. */
  #room = '';
  /** @type {Awaited<ReturnType<typeof joinCrowd>> | null} */
  #crowd = null;
  /** @type {Promise<Awaited<ReturnType<typeof startServer>>> | null} */
  #guarded = null;

  /**
   * @param {import('puppeteer-core').Browser} browser
   * @param {string} url of the server
   */
  constructor(browser, url) {
    this.#browser = browser;
    this.#url = url;
  }

  /**
   * Opens the page of a scene.
   * @param {import('./states.mjs').Scene} scene
   * @param {{width: number, height: number, scheme: 'light' | 'dark'}} look
   */
  async open(scene, look) {
    this.#room = await this.#fill(scene);
    if (scene.crowd) this.#crowd = await joinCrowd(this.#browser, this.#url, this.#room, scene.crowd);
    await scene.first?.(this);
    const { page } = await Participant.open(this.#browser, 'about:blank', { index: 0, before: scene.before });
    this.page = page;
    await show(page, look);
    await page.goto(new URL(scene.path, await this.#address(scene)).href);
    await visible(page, scene.ready);
  }

  /** Goes on to the next state. @param {import('./states.mjs').State} state */
  async enter({ then, shown }) {
    await this.page.evaluate(() => {
      document.querySelectorAll('dialog[open]').forEach((dialog) => dialog.close());
      document.querySelectorAll(':popover-open').forEach((popover) => popover.hidePopover());
    });
    await then?.(this);
    if (shown) await visible(this.page, shown);
  }

  /** After the scene. */
  async leave() {
    await this.page?.browserContext().close();
    await Promise.all(this.guests.splice(0).map(({ page }) => page.browserContext().close()));
    await this.#crowd?.close();
    this.cut?.close();
    [this.page, this.#crowd, this.cut] = [null, null, null];
  }

  async end() {
    await (await this.#guarded)?.stop();
  }

  /** Opens a page for somebody else. @param {number} index @param {string} path @param {() => void} [before] */
  async guest(index, path, before) {
    const guest = await Participant.open(this.#browser, new URL(path, this.#url).href, { index, before });
    this.guests.push(guest);
    return guest;
  }

  /** @param {string} selector */
  click(selector) {
    return this.page.evaluate((what) => document.querySelector(what).click(), selector);
  }

  /** Does something in the room as somebody else. @param {Participant} person @param {(room: any, value: any) => any} act @param {unknown} [value] */
  static act(person, act, value) {
    return person.page.evaluate(`(${act})(window.switchyard.room, ${JSON.stringify(value)})`);
  }

  /** @param {import('./states.mjs').Scene} scene */
  async #fill({ path, room, others = 0, small }) {
    const named = room ?? new URL(path, this.#url).searchParams.get('room') ?? '';
    if (named !== this.#room) await Promise.all(this.people.splice(0).map((person) => person.page.browserContext().close()));
    while (this.people.length < others) {
      const index = this.people.length + 1;
      const person = await Participant.join(this.#browser, { url: this.#url, room: named, index, ...(small && { width: 320, height: 180, fps: 5 }) });
      if (small) await person.page.setViewport({ width: 320, height: 240 });
      this.people.push(person);
    }
    return named;
  }

  /** @param {import('./states.mjs').Scene} scene */
  async #address({ server }) {
    if (server === 'cut') {
      this.cut = await Cut.start(this.#url);
      return this.cut.url;
    }
    if (server === undefined) return this.#url;
    this.#guarded ??= startGuarded();
    await this.#guarded;
    return server === 'guarded' ? GUARDED : FIGURES;
  }
}

function startGuarded() {
  const file = `${OUT}guarded.toml`;
  writeFileSync(file, `[keys]\n${KEY.id} = "${KEY.secret}"\n`, { mode: 0o600 });
  return startServer(['serve', '--config', file, '--listen', new URL(GUARDED).host, '--admin-listen', new URL(FIGURES).host], GUARDED);
}
