/** What a page says to the server, and what it is made to believe that the server says. */

/** Runs in the page: notes every message that it sends from now on, and when. */
export function recordFrames() {
  const { send } = WebSocket.prototype;
  const frames = [];
  window.testFrames = { sent: frames, socket: null };
  WebSocket.prototype.send = function (data) {
    window.testFrames.socket = this;
    frames.push({ at: performance.now(), ...JSON.parse(data) });
    return send.call(this, data);
  };
}

/** Settings that a page has sent of one track since it was recorded, the last first. */
export async function settingsOf(page, track) {
  const sent = await page.evaluate(() => window.testFrames.sent);
  const settings = sent.filter(({ type }) => type === 'track_settings').flatMap(({ at, tracks }) => tracks.map((one) => ({ at, ...one })));
  return settings.filter((one) => one.track === track).reverse();
}

/** Makes the page receive a message; its socket is known as soon as it has sent something. */
export function receive(page, message) {
  return page.evaluate((text) => {
    const { socket } = window.testFrames;
    if (!socket) throw new Error('the page has sent nothing yet');
    socket.dispatchEvent(new MessageEvent('message', { data: text }));
  }, JSON.stringify(message));
}
