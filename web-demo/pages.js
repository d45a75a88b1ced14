/**
 * @module
 * The pages and their addresses.
 */
import { element } from './dom.js';
import { t } from './language.js';
import { recall } from './client/storage.js';

const ROOM_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
export const ROOM_SENTENCE = t('A room’s name has up to 64 letters without accents, digits, or the signs _ . and -');
const OPERATOR = '/operator';
/** The server's own machine: what operators see is for it, where nothing else is said. */
const OWN_MACHINE = ['localhost', '127.0.0.1', '[::1]'];
/** Parts of an address that another page wants as well. */
const SHARED = ['room', 'name', 'token'];

/** A room's name as it was meant; null if it cannot be one. @param {string} typed */
export function roomName(typed) {
  const name = typed.trim().replace(/\s+/g, '-');
  return ROOM_NAME.test(name) ? name : null;
}

/** A person's name without what no name has. @param {string} typed */
export function personName(typed) {
  return typed.replace(/[\u0000-\u001f\u007f-\u009f]/g, '').trim();
}

/**
 * The address to give to others: without a token, which is one person's own.
 * @param {string} page for example `/watch`
 * @param {string} room
 */
export function pageLink(page, room) {
  const url = new URL(page, location.href);
  url.searchParams.set('room', room);
  return url.href;
}

/**
 * The channel relay, for the channels of a room. A WebSocket has no place for a token but its address.
 * @param {string} room
 * @param {string | null} token
 */
export function relayUrl(room, token) {
  const url = new URL('channel', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  url.search = '';
  url.searchParams.set('room', room);
  if (token) url.searchParams.set('token', token);
  return url;
}

/**
 * Where the STUN and TURN servers are told of.
 * @param {string} room
 */
export function iceServersUrl(room) {
  const url = new URL('ice-servers', location.href);
  url.search = '';
  url.searchParams.set('room', room);
  return url;
}

/** Lets the links between the pages carry the room along, and shows those that are for whoever is here. */
export function linkPages() {
  const here = new URLSearchParams(location.search);
  for (const link of element('pages').querySelectorAll('a')) {
    const url = new URL(link.href);
    if (url.pathname === OPERATOR) {
      link.hidden = !isOperator();
      continue;
    }
    for (const name of SHARED) if (here.has(name)) url.searchParams.set(name, here.get(name) ?? '');
    link.href = url.href;
  }
}

/** Whether the operator's page has something for them: at the server's own machine, or signed in there in this window. */
function isOperator() {
  return OWN_MACHINE.includes(location.hostname) || Boolean(recall('sessionStorage', 'operator-token'));
}
