/** One person with a browser: joins by the page, and tells what that person sees and hears of the others. */
import { OUT } from './server.mjs';
import { leadThrough } from './shaper.mjs';
import { PICTURE, colourOf, installDevices, readPicture, readTone, toneOf } from './synthetic.mjs';
import { until } from './until.mjs';

export class Participant {
  /** @type {import('puppeteer-core').Page} */
  page;
  /** Given by the server. */
  id = '';

  /**
   * @param {number} index colour and tone
   * @param {string} name
   */
  constructor(index, name) {
    this.index = index;
    this.name = name;
    /** What the page complained of: shown when a test fails. @type {string[]} */
    this.complaints = [];
  }

  /**
   * Opens the page in a window of its own and waits until it is in the room.
   * @param {import('puppeteer-core').Browser} browser
   * @param {{url: string, room: string, index: number, codec?: string, width?: number, height?: number, fps?: number, noise?: boolean | number, query?: string, shaper?: import('./shaper.mjs').Shaper}} options
   */
  static async join(browser, { url, room, index, codec, query = '', ...devices }) {
    const address = `${url}/?room=${room}&name=P${index}&autojoin=1${codec ? `&codec=${codec}` : ''}${query}`;
    const participant = await Participant.open(browser, address, { index, ...devices });
    await participant.untilJoined();
    return participant;
  }

  /**
   * Opens any page in a window of its own, with this person's devices.
   * @param {import('puppeteer-core').Browser} browser
   * @param {string} address
   * @param {{index: number, width?: number, height?: number, fps?: number, noise?: boolean | number, shaper?: import('./shaper.mjs').Shaper, before?: () => void}} options
   *   `shaper`: all media of this person goes through it; `before`: runs in the page before its scripts
   */
  static async open(browser, address, { index, width = 640, height = 360, fps = 15, noise = false, shaper, before }) {
    const participant = new Participant(index, `P${index}`);
    const context = await browser.createBrowserContext();
    const page = await context.newPage();
    participant.page = page;
    page.on('console', (message) => {
      if (['error', 'warn'].includes(message.type())) participant.complaints.push(message.text());
    });
    page.on('pageerror', (error) => participant.complaints.push(String(error)));
    await page.evaluateOnNewDocument(installDevices, { index, tone: toneOf(index), width, height, fps, noise, picture: PICTURE });
    if (shaper) await page.evaluateOnNewDocument(leadThrough, shaper.port);
    if (before) await page.evaluateOnNewDocument(before);
    await page.goto(address);
    return participant;
  }

  async untilJoined() {
    await until(`${this.name} to be in the room`, async () => {
      const state = await this.page.evaluate(() => document.body.dataset.state);
      return state === 'connected' ? true : { error: state, complaints: this.complaints, text: await this.page.evaluate(() => document.body.innerText.slice(0, 300)) };
    });
    this.id = await this.page.evaluate(() => window.switchyard.room.participantId);
  }

  /** @param {Participant} other @param {string} [source] */
  tileOf(other, source = 'camera') {
    return `.tile[data-participant="${other.id}"][data-source="${source}"]`;
  }

  /** What this person's page shows of the other right now. */
  look(other, source = 'camera') {
    return this.page.evaluate(readPicture, `${this.tileOf(other, source)} video`, PICTURE);
  }

  /**
   * Waits until the other's picture is in its tile, is the right one, and moves.
   * @param {Participant} other
   * @param {{device?: string, source?: string, width?: number, deadlineMs?: number}} [options] `width` in pixels, once the bandwidth estimate has grown
   */
  async sees(other, { device = 'camera', source = 'camera', width, deadlineMs } = {}) {
    const right = (seen) => {
      if (seen.error) return seen;
      const ours = seen.index === other.index && seen.device === device && seen.colour === colourOf(other.index, device);
      if (!ours) return { error: 'somebody else, or another device', seen };
      if (Math.abs(seen.width / seen.height - 16 / 9) > 0.05) return { error: 'distorted', seen };
      return width !== undefined && seen.width !== width ? { error: `not ${width} wide yet`, seen } : seen;
    };
    const what = `${this.name} to see ${other.name}'s ${device}`;
    const first = await until(what, async () => right(await this.look(other, source)), deadlineMs);
    const moved = (seen) => (seen.counter - first.counter + 1024) % 1024;
    return until(`${what} moving`, async () => {
      const seen = right(await this.look(other, source));
      if (seen.error) return seen;
      return moved(seen) > 0 && moved(seen) < 512 ? seen : { error: 'frozen, or backwards', first, seen };
    });
  }

  /** Waits until the other's tone is what comes out of its voice. */
  async hears(other, deadlineMs) {
    return until(
      `${this.name} to hear ${other.name} at ${toneOf(other.index)} Hz`,
      async () => {
        const heard = await this.listen(other);
        if (heard.error) return heard;
        return Math.abs(heard.hertz - toneOf(other.index)) < 20 && heard.level > -50 ? heard : { error: 'another tone, or silence', heard };
      },
      deadlineMs,
    );
  }

  listen(other) {
    return this.page.evaluate(readTone, `audio[data-participant="${other.id}"][data-source="microphone"]`);
  }

  /** Waits until nothing is heard of the other. */
  async hearsNothingOf(other) {
    return until(`${this.name} to hear nothing of ${other.name}`, async () => {
      const heard = await this.listen(other);
      return heard.error || heard.level < -70 ? { silent: true } : { error: 'still heard', heard };
    });
  }

  /** Waits until the other has no tile here. */
  async misses(other, source, deadlineMs) {
    const selector = source ? this.tileOf(other, source) : `.tile[data-participant="${other.id}"]`;
    return until(`${this.name} to have no tile of ${other.name}`, async () => (await this.page.$(selector)) === null, deadlineMs);
  }

  /** Everybody else's tracks as this page knows them: `{participant: [source, ...]}`, sorted. */
  view() {
    return this.page.evaluate(() => {
      const { room } = window.switchyard;
      const own = [...room.localTracks].map(({ source }) => source).sort();
      const others = [...room.participants.values()].map(({ id, tracks }) => [id, [...tracks.values()].map(({ source }) => source).sort()]);
      return Object.fromEntries([[room.participantId, own], ...others]);
    });
  }

  /** Milliseconds from the join message to the first decoded frame of somebody else. */
  async firstFrameMs() {
    const marks = await until(`${this.name}'s first frame`, () =>
      this.page.evaluate(() => {
        const at = (name) => performance.getEntriesByName(name)[0]?.startTime;
        return at('sy-first-frame') === undefined ? { error: 'no frame' } : { join: at('sy-join'), frame: at('sy-first-frame') };
      }),
    );
    return Math.round(marks.frame - marks.join);
  }

  click(id) {
    return this.page.click(`#${id}`);
  }

  /** @param {string} name */
  screenshot(name) {
    return this.page.screenshot({ path: `${OUT}${name}.png` });
  }

  /** Closes the tab, as a person would. */
  close() {
    return this.page.close();
  }
}

/**
 * Everybody sees and hears everybody else.
 * @param {Participant[]} everybody
 * @param {{width?: number, deadlineMs?: number}} [options]
 */
export async function meet(everybody, options) {
  for (const one of everybody) {
    for (const other of everybody) {
      if (one === other) continue;
      await one.sees(other, options);
      await one.hears(other, options?.deadlineMs);
    }
  }
}
