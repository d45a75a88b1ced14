/** A test of people in a room: the server, their browsers, and what to keep when something goes wrong. */
import { after, before, test } from 'node:test';
import { chromium, firefox } from './browsers.mjs';
import { Participant } from './participant.mjs';
import { startServer } from './server.mjs';

/**
 * Starts a server for the tests of one file and ends everything after them.
 * @param {{args?: string[], url?: string, env?: Record<string, string>, apart?: boolean}} [options] as for `startServer`;
 *   `apart`: every test ends the browsers it started, as pages that go on for nobody slow down the tests after it
 */
export function scene({ args, url, env, apart = false } = {}) {
  const scene = {
    server: null,
    /** @type {import('puppeteer-core').Browser[]} */
    browsers: [],
    /** Everybody who joined, those who left included. @type {Participant[]} */
    people: [],

    /** @param {'chromium' | 'firefox'} [kind] */
    async browser(kind = 'chromium') {
      const browser = await (kind === 'firefox' ? firefox() : chromium());
      scene.browsers.push(browser);
      return browser;
    },

    /** Joins with colour and tone `index`. */
    async join(browser, room, index, options = {}) {
      const participant = await Participant.join(browser, { url: scene.server.url, room, index, ...options });
      scene.people.push(participant);
      return participant;
    },

    /** Opens any page of the server's for somebody with colour and tone `index`. */
    async open(browser, path, options) {
      const participant = await Participant.open(browser, `${scene.server.url}${path}`, options);
      scene.people.push(participant);
      return participant;
    },

    /** A test whose failure comes with a screenshot of every page and with what pages and server said. */
    test(name, body, options = {}) {
      test(name, { timeout: 300_000, ...options }, async (t) => {
        try {
          await body(t);
        } catch (error) {
          error.message += await scene.evidence(name);
          throw error;
        } finally {
          if (apart) await scene.close();
        }
      });
    },

    /** Ends all browsers. */
    close: () => Promise.allSettled(scene.browsers.splice(0).map((browser) => browser.close())),

    async evidence(name) {
      const lines = [];
      for (const person of scene.people) {
        if (person.page.isClosed()) continue;
        await person.screenshot(`failed-${name.replace(/\W+/g, '-')}-${person.name}`).catch(() => undefined);
        if (person.complaints.length > 0) lines.push(`${person.name}: ${person.complaints.slice(-5).join(' | ')}`);
      }
      return `\n${lines.join('\n')}\nserver: ${scene.server?.log().split('\n').slice(-15).join('\n')}`;
    },
  };
  before(async () => {
    scene.server = await startServer(args, url, env);
  });
  after(async () => {
    await scene.close();
    await scene.server?.stop();
  });
  return scene;
}
