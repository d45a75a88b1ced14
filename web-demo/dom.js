/**
 * @module
 * Small, typed ways to the page's own elements.
 */
import './icons.js';

/**
 * The element with this id; the page is broken without it.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} id */
export const button = (id) => /** @type {HTMLButtonElement} */ (element(id));
/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ (element(id));
/** @param {string} id */
export const select = (id) => /** @type {HTMLSelectElement} */ (element(id));
/** @param {string} id */
export const video = (id) => /** @type {HTMLVideoElement} */ (element(id));

/**
 * @param {Element} parent of the svg
 * @param {string} name of a symbol in icons.js
 */
export function setIcon(parent, name) {
  parent.querySelector('use')?.setAttribute('href', `#icon-${name}`);
}

/** @param {string} name */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/**
 * A label for eyes and ears alike.
 * @param {HTMLElement} target
 * @param {string} text
 * @param {string} [key] keyboard shortcut
 */
export function label(target, text, key) {
  target.setAttribute('aria-label', text);
  target.title = key ? `${text} (${key})` : text;
}

/**
 * The rows of a table's body. What is the same stays in its place: a button that is replaced under the mouse is not clicked.
 * @param {string} id
 * @param {(string | HTMLElement)[][]} rows what each cell holds
 */
export function fillRows(id, rows) {
  const body = element(id).querySelector('tbody');
  for (const [index, row] of rows.entries()) {
    const line = body?.rows[index] ?? body?.insertRow();
    for (const [at, content] of row.entries()) {
      const cell = line?.cells[at] ?? line?.insertCell();
      if (cell?.firstChild !== content && (content instanceof HTMLElement || cell?.textContent !== content)) cell?.replaceChildren(content);
    }
  }
  while (body && body.rows.length > rows.length) body.deleteRow(-1);
}
