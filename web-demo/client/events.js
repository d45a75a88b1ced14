/**
 * @module
 * The events of a room, and an EventTarget whose listeners get the `detail` with its type.
 */

/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
/** @typedef {import('./tracks.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./tracks.js').RemoteTrack} RemoteTrack */

/** @typedef {'connecting' | 'connected' | 'reconnecting' | 'closed'} RoomState */

/**
 * Events and their `detail`.
 * @typedef {object} RoomEvents
 * @property {{participant: RemoteParticipant}} participantjoined
 * @property {{participant: RemoteParticipant, reason: string}} participantleft
 * @property {{participant: RemoteParticipant}} participantupdated
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackpublished
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackunpublished
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackmuted `track.muted` tells which
 * @property {{participant: RemoteParticipant, track: RemoteTrack, mediaStreamTrack: MediaStreamTrack, stream: MediaStream}} tracksubscribed
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackunsubscribed
 * @property {{participant: RemoteParticipant, track: RemoteTrack, reason: string, codec: string}} trackunavailable
 *   reason `codec`: this browser cannot play it; `slots`: too many at once
 * @property {{speakers: {participant: string, track: string, level: number}[]}} activespeakers
 * @property {{participant: RemoteParticipant, track: RemoteTrack, rid: string | null, temporal: number | null}} layerchanged
 * @property {{track: LocalTrack}} localtrackupdated published (again), unpublished, muted or replaced
 * @property {{state: RoomState, message: string}} statechange `message` is a sentence for people, or empty
 * @property {{reason: string, message: string}} closed the end: no reconnect follows
 * @property {{code: string, message: string}} error something failed, the room lives on
 */

/** @typedef {<K extends keyof RoomEvents>(type: K, detail: RoomEvents[K]) => void} Emit */

export class Emitter extends EventTarget {
  /**
   * Listens; returns a function that stops listening.
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {(detail: RoomEvents[K]) => void} listener
   */
  on(type, listener) {
    /** @param {Event} event */
    const wrapped = (event) => listener(/** @type {CustomEvent<RoomEvents[K]>} */ (event).detail);
    this.addEventListener(type, wrapped);
    return () => this.removeEventListener(type, wrapped);
  }

  /**
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {RoomEvents[K]} detail
   * @protected
   */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
