/**
 * @module
 * The dialog with the link to the room: to copy, and as a QR code for a phone's camera.
 */
import { button, element, input } from './dom.js';
import { t } from './language.js';
import { copyLink } from './notices.js';
import { qrCode } from './qr.js';

const SVG = 'http://www.w3.org/2000/svg';
/** Readers want so much around a code, in modules. */
const QUIET = 4;

/** @param {string} link */
export function invite(link) {
  input('invite-link').value = link;
  const code = qrCode(link);
  element('invite-code').hidden = code === null;
  if (code) element('invite-code').replaceChildren(picture(code));
  button('copy-link').onclick = () => void copyLink(link, t('The link to this room is on the clipboard.'));
  element('invite-secret').hidden = !link.includes('#');
  const dialog = /** @type {HTMLDialogElement} */ (element('invite'));
  dialog.showModal();
}

/** @param {boolean[][]} rows */
function picture(rows) {
  const svg = document.createElementNS(SVG, 'svg');
  const size = rows.length + 2 * QUIET;
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', t('QR code of the link'));
  const path = document.createElementNS(SVG, 'path');
  const squares = rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : '')));
  path.setAttribute('d', squares.join(''));
  svg.append(path);
  return svg;
}
