/**
 * @module
 * Sentences to the user: toasts for all, and a live region that only screen readers read. While a dialog is open both are in it, as all that
 * is outside of it can be neither clicked nor heard.
 */
import { element } from './dom.js';
import { t } from './language.js';

const TOAST_MS = 7000;
/** More would cover the page. */
const TOASTS_MAX = 5;
const LIVE_ENTRIES_MAX = 20;
/** In the order in which they were opened. @type {Element[]} */
let dialogs = [];

new MutationObserver((records) => {
  for (const { target } of records) {
    const dialog = /** @type {Element} */ (target);
    dialogs = dialogs.filter((one) => one !== dialog);
    if (dialog.matches('dialog[open]')) dialogs.push(dialog);
  }
  const place = dialogs.at(-1) ?? document.body;
  for (const id of ['toasts', 'live']) if (element(id).parentElement !== place) place.append(element(id));
}).observe(document.body, { subtree: true, attributeFilter: ['open'] });

/**
 * Shows a sentence for some seconds.
 * @param {string} text
 * @param {{label: string, act: () => void}} [action] a button; the toast then stays until it is used
 * @returns {() => void} takes it away before
 */
export function toast(text, action) {
  const item = document.createElement('div');
  item.className = 'toast';
  const words = document.createElement('span');
  words.textContent = t(text);
  item.append(words);
  const box = element('toasts');
  for (const old of box.children) if (old.firstElementChild?.textContent === words.textContent) old.remove();
  const remove = () => item.remove();
  if (action) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = t(action.label);
    button.addEventListener('click', () => {
      remove();
      action.act();
    });
    item.append(button);
  } else {
    setTimeout(remove, TOAST_MS);
  }
  box.append(item);
  while (box.childElementCount > TOASTS_MAX) box.firstElementChild?.remove();
  // A region that comes with its text in it is not read.
  announce(action ? `${words.textContent} ${t(action.label)}` : text);
  return remove;
}

/** @param {string} text */
export function announce(text) {
  const live = element('live');
  const line = document.createElement('p');
  line.textContent = t(text);
  live.append(line);
  while (live.childElementCount > LIVE_ENTRIES_MAX) live.firstElementChild?.remove();
}

/**
 * @param {string} link
 * @param {string} done the sentence that says so
 */
export async function copyLink(link, done) {
  try {
    await navigator.clipboard.writeText(link);
    toast(done);
  } catch {
    toast(t('The browser did not allow copying. The link is {link}', { link }));
  }
}

export function clearNotices() {
  element('toasts').replaceChildren();
}
