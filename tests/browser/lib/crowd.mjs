/** Many people who are only there. */
import { emptyPage } from './plain.mjs';

const NAMES = ['Ben', 'Clara', 'Dmitri', 'Elif', 'Farid', 'Grace', 'Hiro', 'Ines', 'Jonas', 'Katharina', 'Liam', 'Mei', 'Nora', 'Olu', 'Priya', 'Quentin', 'Rosa', 'Sven'];

/**
 * Many who are only there: a socket each, without media.
 * @param {import('puppeteer-core').Browser} browser
 * @param {string} url
 * @param {string} room
 * @param {number} count
 */
export async function joinCrowd(browser, url, room, count) {
  const page = await emptyPage(browser, url, 9);
  await page.evaluate(
    async (name, names) => {
      window.crowd = names.map(() => new WebSocket(`ws://${location.host}/ws`));
      const welcome = (socket, who) =>
        new Promise((resolve) => {
          socket.onopen = () => socket.send(JSON.stringify({ type: 'join', version: 1, room: name, name: who, max_video: 0, max_audio: 0 }));
          socket.onmessage = resolve;
        });
      await Promise.all(window.crowd.map((socket, index) => welcome(socket, names[index])));
    },
    room,
    Array.from({ length: count }, (_, index) => NAMES[index % NAMES.length] + (index < NAMES.length ? '' : ` ${Math.floor(index / NAMES.length) + 1}`)),
  );
  const close = async () => {
    await page.evaluate(() => window.crowd.forEach((socket) => socket.send(JSON.stringify({ type: 'leave' }))));
    await page.browserContext().close();
  };
  return { close };
}
