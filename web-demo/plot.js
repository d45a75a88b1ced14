/**
 * @module
 * A card with a figure and how it was in the last minutes: a line or some in a small SVG. It draws what it is given.
 */
import { t } from './language.js';

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [240, 56];
/** As many colours as style sheet has. */
const COLOURS = 8;

export class Plot {
  element = document.createElement('article');
  #value = document.createElement('p');
  #note = document.createElement('p');
  #svg = document.createElementNS(SVG, 'svg');
  #name;
  #write;
  #most;

  /**
   * @param {string} name
   * @param {(value: number) => string} write a value with its unit
   * @param {number} [most] of the scale; else it follows the values
   */
  constructor(name, write, most) {
    this.#name = name;
    this.#write = write;
    this.#most = most;
    this.element.className = 'plot';
    const title = document.createElement('h2');
    title.textContent = name;
    this.#value.className = 'plot-value';
    this.#note.className = 'plot-note';
    this.#svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.#svg.setAttribute('preserveAspectRatio', 'none');
    this.#svg.setAttribute('role', 'img');
    this.element.append(title, this.#value, this.#svg, this.#note);
  }

  /**
   * @param {number | null} value now
   * @param {(number | null)[][]} lines one value for each moment, the newest last; null: not known
   * @param {number} moments how many the width is for
   * @param {string} [note]
   */
  show(value, lines, moments, note = '') {
    const text = value === null ? '–' : this.#write(value);
    this.#value.textContent = text;
    const known = lines.flat().filter((one) => one !== null);
    const most = this.#most ?? Math.max(...known, Number.MIN_VALUE);
    this.#note.textContent = note || (known.length > 0 ? t('up to {most}', { most: this.#write(Math.max(...known)) }) : '');
    this.#svg.setAttribute('aria-label', t('{name} in the last minutes, now {value}', { name: this.#name, value: text }));
    const step = WIDTH / (moments - 1);
    this.#svg.replaceChildren(
      ...lines.map((line, index) => {
        const polyline = document.createElementNS(SVG, 'polyline');
        const start = WIDTH - (line.length - 1) * step;
        const points = line.flatMap((one, at) => (one === null ? [] : [`${(start + at * step).toFixed(1)},${(HEIGHT - 2 - (Math.min(one, most) / most) * (HEIGHT - 4)).toFixed(1)}`]));
        polyline.setAttribute('points', points.join(' '));
        polyline.setAttribute('class', `line-${index % COLOURS}`);
        return polyline;
      }),
    );
  }
}
