/**
 * @module
 * How everybody is in a room, and who decides what: hands, status, reactions, moderation.
 */
import { Emitter } from './events.js';

/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */
/** @typedef {import('./protocol.js').Moderated} Moderated */
/** @typedef {import('./protocol.js').Ban} Ban */
/** @typedef {import('./protocol.js').PermissionChange} PermissionChange */

/**
 * Events and their `detail`.
 * @typedef {object} PeopleEvents
 * @property {{}} changed our own name, role, hand or status, the lobby, or the lock
 * @property {{participant: string, reaction: string}} reaction
 * @property {Moderated} moderated a moderator did something
 * @property {{identity: string, name: string}} knock somebody new waits; told to moderators
 */

/** @extends {Emitter<PeopleEvents>} */
export class People extends Emitter {
  /** We moderate the room. */
  moderator = false;
  /** Order of our raised hand; 0: it is down. */
  hand = 0;
  status = '';
  /** Nobody new is let in. */
  locked = false;
  /** Whoever is new waits for a moderator. */
  lobby = false;
  /** Who waits, for moderators. @type {{identity: string, name: string}[]} */
  waiting = [];
  #request;

  #rename;

  /**
   * @param {(type: string, fields: object) => Promise<any>} request
   * @param {(name: string) => void} rename we are called something else now
   */
  constructor(request, rename) {
    super();
    this.#request = request;
    this.#rename = rename;
  }

  /** @param {import('./protocol.js').Welcome} welcome */
  enter({ moderator = false, hand = 0, status = '', locked = false, lobby = false }) {
    Object.assign(this, { moderator, hand, status, locked, lobby, waiting: [] });
    this.emit('changed', {});
  }

  /** @param {boolean} raised */
  async raiseHand(raised) {
    await this.#request('presence', { hand: raised });
  }

  /** @param {string} status such as `away`; empty: none */
  async setStatus(status) {
    await this.#request('presence', { status });
  }

  /** @param {string} reaction an emoji */
  async react(reaction) {
    await this.#request('react', { reaction });
  }

  /**
   * Changes how we are shown, or as a moderator somebody else.
   * @param {{identity?: string, name?: string, metadata?: string, attributes?: Record<string, string>, reason?: string}} changes attributes
   *   that are named are set, those with an empty value taken away
   */
  async update(changes) {
    await this.#request('update_participant', changes);
  }

  /** @param {string} track @param {string} [reason] they are told, as everywhere below */
  async muteTrack(track, reason) {
    await this.#request('mute_track', { track, reason });
  }

  /** @param {string} [reason] */
  async muteAll(reason) {
    await this.#request('mute_all', { reason });
  }

  /** @param {string} track @param {string} [reason] */
  async stopTrack(track, reason) {
    await this.#request('stop_track', { track, reason });
  }

  /** @param {string} identity @param {string} [reason] */
  async lowerHand(identity, reason) {
    await this.#request('lower_hand', { identity, reason });
  }

  /** @param {string} identity @param {string} [reason] */
  async kick(identity, reason) {
    await this.#request('kick', { identity, reason });
  }

  /** @param {string} identity @param {number} seconds @param {string} [reason] */
  async ban(identity, seconds, reason) {
    await this.#request('ban', { identity, seconds, reason });
  }

  /** @param {string} identity */
  async unban(identity) {
    await this.#request('unban', { identity });
  }

  /** @returns {Promise<Ban[]>} */
  async bans() {
    return (await this.#request('list_bans', {})).bans;
  }

  /** @param {string} identity */
  async admit(identity) {
    await this.#request('admit', { identity });
  }

  /** @param {string} identity @param {string} [reason] */
  async deny(identity, reason) {
    await this.#request('deny', { identity, reason });
  }

  /** @param {{locked?: boolean, lobby?: boolean, metadata?: string}} changes @param {string} [reason] */
  async updateRoom(changes, reason) {
    await this.#request('update_room', { ...changes, reason });
  }

  /** @param {string} identity @param {PermissionChange} permissions @param {string} [reason] */
  async setPermissions(identity, permissions, reason) {
    await this.#request('set_permissions', { identity, permissions, reason });
  }

  /** @param {string} identity @param {boolean} moderator @param {string} [reason] */
  async setModerator(identity, moderator, reason) {
    await this.#request('set_moderator', { identity, moderator, reason });
  }

  /** @param {string} [reason] */
  async endRoom(reason) {
    await this.#request('end_room', { reason });
  }

  /**
   * @param {ServerMessage} message
   * @param {string} own our participant id
   * @returns {boolean} whether it was about this, and about nothing else
   */
  handle(message, own) {
    switch (message.type) {
      case 'reaction':
        this.emit('reaction', { participant: message.participant, reaction: message.reaction });
        return true;
      case 'moderated':
        this.emit('moderated', message);
        return true;
      case 'lobby':
        this.#handleLobby(message.waiting);
        return true;
      case 'room_updated':
        Object.assign(this, { locked: message.locked ?? false, lobby: message.lobby ?? false });
        this.emit('changed', {});
        return false;
      case 'participant_updated':
        return message.participant === own && this.#handleOwn(message);
      default:
        return false;
    }
  }

  /** @param {import('./protocol.js').ParticipantUpdated} update */
  #handleOwn({ name, moderator = this.moderator, hand = this.hand, status = this.status }) {
    if (name) this.#rename(name);
    Object.assign(this, { moderator, hand, status });
    if (!moderator) this.waiting = [];
    this.emit('changed', {});
    return true;
  }

  /** @param {{identity: string, name: string}[]} waiting */
  #handleLobby(waiting) {
    const known = new Set(this.waiting.map(({ identity }) => identity));
    this.waiting = waiting;
    this.emit('changed', {});
    for (const one of waiting) if (!known.has(one.identity)) this.emit('knock', one);
  }
}
