/**
 * @module
 * The events of a room and of streams, and an EventTarget whose listeners get the `detail` with its type.
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
 *   reason `codec`: this browser cannot play it; `slots`: too many at once; `encrypted`, `key`, `plain`: see `RemoteTrack.unavailable`
 * @property {{participant: RemoteParticipant, track: RemoteTrack}} trackavailable it can be decrypted now
 * @property {{speakers: {participant: string, track: string, level: number}[]}} activespeakers
 * @property {{participant: RemoteParticipant, track: RemoteTrack, rid: string | null, temporal: number | null}} layerchanged
 * @property {{participant: RemoteParticipant, track: RemoteTrack, status: import('./protocol.js').TrackStatus}} trackstatus what is shown of it and why
 *   not more, unless it is muted; also `track.status`
 * @property {{track: LocalTrack}} localtrackupdated published (again), unpublished, muted or replaced
 * @property {import('./protocol.js').Permissions} permissionschanged what we may do is another thing now; what goes beyond it has ended
 * @property {{metadata?: string, locked?: boolean, lobby?: boolean}} roomupdated
 * @property {import('./data.js').Received} data somebody said something
 * @property {{channel: string, reason: string, message: string}} dataclosed messages to us were lost, because we did not read fast enough
 * @property {{seconds: number, message: string}} closing the server will stop: in so many seconds at most
 * @property {{state: RoomState, message: string}} statechange `message` is a sentence for people, or empty
 * @property {{attempt: number, delayMs: number, message: string}} reconnecting the next attempt comes after so long; `attempt` from 0. `message` is a
 *   sentence for people
 * @property {{resumed: boolean}} reconnected `resumed`: everything is as it was; else we have joined anew
 * @property {{reason: string, message: string}} closed the end: no reconnect follows
 * @property {{code: string, message: string}} error something failed, the room lives on
 */

/** @typedef {'connecting' | 'waiting' | 'connected' | 'reconnecting' | 'closed'} StreamState `waiting`: nobody publishes yet */

/**
 * Events of a stream that is published or watched, and their `detail`.
 * @typedef {object} StreamEvents
 * @property {{state: StreamState, message: string}} statechange `message` is a sentence for people, or empty
 * @property {{count: number}} viewers how many watch the room
 * @property {{stats: import('./stats.js').TrackStats}} stats once a second while connected: of the picture, else of the sound
 * @property {{stream: MediaStream}} stream watching: what to play, anew after every reconnect
 * @property {{layers: Layer[]}} layers watching: what can be chosen now, best first; fewer than two are no choice
 * @property {{status: import('./protocol.js').TrackStatus}} status watching: what of the picture is shown, and why not more
 * @property {{flowing: boolean}} flow watching: whether anything comes
 * @property {{reason: string, message: string}} closed the end: no reconnect follows
 */

/** @typedef {{rid: string, bitrate?: number}} Layer bits per second, once measured; 0: nothing comes */

/** @typedef {<K extends keyof RoomEvents>(type: K, detail: RoomEvents[K]) => void} Emit */

/** @template {object} Events by type, their `detail` */
export class Emitter extends EventTarget {
  /**
   * Listens; returns a function that stops listening.
   * @template {keyof Events & string} K
   * @param {K} type
   * @param {(detail: Events[K]) => void} listener
   */
  on(type, listener) {
    /** @param {Event} event */
    const wrapped = (event) => listener(/** @type {CustomEvent<Events[K]>} */ (event).detail);
    this.addEventListener(type, wrapped);
    return () => this.removeEventListener(type, wrapped);
  }

  /**
   * @template {keyof Events & string} K
   * @param {K} type
   * @param {Events[K]} detail
   * @protected
   */
  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
