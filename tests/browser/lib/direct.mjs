/** Somebody on the page of direct calls. */
import { PICTURE, colourOf, readPicture, readTone, toneOf } from './synthetic.mjs';
import { until } from './until.mjs';

/**
 * Browsers show a page their addresses once it captures something, and the synthetic devices are nothing that they know of. Keeps the
 * page's WebSockets as well.
 */
export function captureSomething() {
  window.sockets = [];
  window.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      window.sockets.push(this);
    }
  };
  void MediaDevices.prototype.getUserMedia.call(navigator.mediaDevices, { audio: true }).then((stream) => (window.captured = stream));
}

export const state = (person) => person.page.evaluate(() => document.body.dataset.state);
export const reaches = (person, wanted) =>
  until(`${person.name} to be ${wanted}`, async () => {
    const found = await state(person);
    return found === wanted || { error: found, complaints: person.complaints, panel: await person.page.$eval('#stages', ({ innerText }) => innerText) };
  });
export const text = (person, selector) => person.page.$eval(selector, ({ textContent }) => textContent);
export const stat = (person, stage, name) => person.page.$eval(`[data-stage="${stage}"] dd[data-stat="${name}"]`, ({ textContent }) => textContent).catch(() => '');

export function sees(person, other, device = 'camera') {
  return until(`${person.name} to see the ${device} of ${other.name}`, async () => {
    const seen = await person.page.evaluate(readPicture, `#remote-${device}`, PICTURE);
    if (seen.error) return seen;
    return (seen.index === other.index && seen.device === device && seen.colour === colourOf(other.index, device)) || { error: 'somebody else', seen };
  });
}

export function hears(person, other) {
  return until(`${person.name} to hear ${other.name}`, async () => {
    const heard = await person.page.evaluate(readTone, '#remote-camera');
    return (Math.abs(heard.hertz - toneOf(other.index)) < 20 && heard.level > -50) || { error: heard };
  });
}
