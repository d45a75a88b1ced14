/**
 * @module
 * The pages' second language. English stands in the code and in the pages, where it is read in its place; `german.js` has for each of its
 * sentences the German one, `german-server.js` for the server's. What has none stays English.
 */
import { recall, remember } from './client/storage.js';

/** @typedef {'en' | 'de'} Language */

/** Each in its own words. @type {Record<Language, string>} */
const LANGUAGES = { en: 'English', de: 'Deutsch' };
const ATTRIBUTES = ['aria-label', 'placeholder', 'title', 'content', 'alt'];

/** As chosen, else as the browser has it. @type {Language} */
export const language = chosen();

const german = language === 'de' ? await import('./german.js') : undefined;
/** @type {Record<string, string>} */
const table = german?.GERMAN ?? {};
/** Sentences of the server, and those of the client that have places. */
const told = [...Object.entries(german?.GERMAN_SERVER ?? {}), ...Object.entries(german?.GERMAN_CLIENT ?? {}).filter(([english]) => english.includes('{'))].map(([english, translated]) => ({ pattern: patternOf(english), translated }));

/**
 * A sentence in the language of the page.
 * @param {string} english as in the table; `{name}` is where a value goes
 * @param {Record<string, string | number>} [values]
 */
export function t(english, values = {}) {
  if (!Object.hasOwn(table, english)) return fill(...heard(english, values));
  return fill(table[english], values);
}

/**
 * What the server or the client may have said: the sentence with its values. Values may hold sentences.
 * @param {string} english @param {Record<string, string | number>} values
 * @returns {[string, Record<string, string | number>]}
 */
function heard(english, values) {
  for (const { pattern, translated } of told) {
    const match = pattern.exec(english);
    if (match) return [translated, Object.fromEntries(Object.entries(match.groups ?? {}).map(([name, value]) => [name, name === 'sentence' ? t(value) : value]))];
  }
  return [english, values];
}

/** @param {string} english */
function patternOf(english) {
  const escaped = english.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{(\w+)\}/g, '(?<$1>.+)');
  return new RegExp(`^${escaped}$`, 's');
}

/** @param {string} sentence @param {Record<string, string | number>} values */
function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (place, name) => (Object.hasOwn(values, name) ? String(values[name]) : place));
}

/** A number as people of that language write it. @param {number} value @param {number} [digits] after the point */
export function number(value, digits = 0) {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** Puts what stands in the page itself into its language. */
function translatePage() {
  document.documentElement.lang = language;
  document.title = t(document.title);
  const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const text = (node.nodeValue ?? '').trim();
    if (text && !node.parentElement?.closest('[translate="no"], script, style')) node.nodeValue = (node.nodeValue ?? '').replace(text, () => t(text.replace(/\s+/g, ' ')));
  }
  for (const name of ATTRIBUTES) {
    for (const element of document.querySelectorAll(`[${name}]`)) element.setAttribute(name, t(element.getAttribute(name) ?? ''));
  }
}

/** The list of languages; the page is loaded anew with the one that is chosen. */
function offerLanguages() {
  const list = document.querySelector('select#languages');
  if (!(list instanceof HTMLSelectElement)) return;
  list.replaceChildren(...Object.entries(LANGUAGES).map(([value, name]) => new Option(name, value, false, value === language)));
  for (const option of list.options) option.lang = option.value;
  list.addEventListener('change', () => {
    remember('localStorage', 'language', list.value);
    location.reload();
  });
}

/** The page cannot be loaded anew while it is at work. @param {string} reason in the language of the page; empty: it can */
export function holdLanguage(reason) {
  const list = document.querySelector('select#languages');
  if (!(list instanceof HTMLSelectElement)) return;
  list.disabled = reason !== '';
  list.title = reason;
}

/** @returns {Language} */
function chosen() {
  const wished = [recall('localStorage', 'language') ?? '', ...navigator.languages].map((one) => one.slice(0, 2));
  return /** @type {Language} */ (wished.find((one) => Object.hasOwn(LANGUAGES, one)) ?? 'en');
}

translatePage();
offerLanguages();
