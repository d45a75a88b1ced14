/**
 * @module
 * The other participants, their tracks, and which slot shows which track. Follows the server's messages; asks for nothing.
 */
import { RemoteParticipant, RemoteTrack } from './tracks.js';

/** @typedef {import('./protocol.js').ParticipantInfo} ParticipantInfo */
/** @typedef {import('./protocol.js').TrackInfo} TrackInfo */
/** @typedef {import('./protocol.js').Bindings} Bindings */
/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */
/** @typedef {import('./events.js').Emit} Emit */

export class Roster {
  /** @type {Map<string, RemoteParticipant>} */
  participants = new Map();
  /** @type {{mid: string, track: string | null}[]} */
  #bindings = [];
  #emit;
  #slot;
  #obstacle;

  /**
   * @param {Emit} emit
   * @param {(mid: string) => RTCRtpTransceiver | undefined} slot the receiving transceiver with this mid
   * @param {(track: RemoteTrack) => string | null} obstacle why it may not be shown
   */
  constructor(emit, slot, obstacle) {
    this.#emit = emit;
    this.#slot = slot;
    this.#obstacle = obstacle;
  }

  /**
   * The track with this id, whoever publishes it.
   * @param {string} id
   */
  track(id) {
    return this.tracks().find((track) => track.id === id);
  }

  /** Everybody's. */
  tracks() {
    return [...this.participants.values()].flatMap(({ tracks }) => [...tracks.values()]);
  }

  /**
   * What comes in a slot can be decrypted, or not. Packets name their track, where the browser tells; a slot may have another one by now.
   * @param {{mid: string | null, number: number, readable: boolean}} report
   */
  setReadable({ mid, number, readable }) {
    const track = this.tracks().find((one) => (number ? one.number === number : one.transceiver?.mid === mid));
    if (!track?.transceiver) return;
    if (!readable) return this.#setUnavailable(track, 'key', track.codec);
    if (track.unavailable !== 'key') return;
    track.unavailable = null;
    this.#tell('trackavailable', track, {});
  }

  /** @param {ServerMessage} message */
  handle(message) {
    switch (message.type) {
      case 'participant_joined':
        return this.#addParticipant(message.participant);
      case 'participant_left':
        return this.#removeParticipant(message.participant, message.reason);
      case 'participant_updated':
        return this.#updateParticipant(message.participant, message);
      case 'track_published':
        return this.#addTrack(message.participant, message.track);
      case 'bindings':
        return this.#handleBindings(message);
      default:
        return this.#handleTrackMessage(message);
    }
  }

  /**
   * After a join: the list is the truth, and nothing is bound yet. Who was here before stays the same object.
   * @param {ParticipantInfo[]} infos
   */
  replace(infos) {
    this.#bindings = [];
    for (const participant of [...this.participants.values()]) {
      const info = infos.find(({ participant: id }) => id === participant.id);
      if (!info || info.identity !== participant.identity) {
        this.#removeParticipant(participant.id, 'left');
        continue;
      }
      for (const track of [...participant.tracks.values()]) this.#removeTrack(track);
      for (const track of info.tracks) this.#addTrack(participant.id, track);
      this.#updateParticipant(participant.id, { metadata: '', attributes: {}, moderator: false, hand: 0, status: '', ...info });
    }
    for (const info of infos) if (!this.participants.has(info.participant)) this.#addParticipant(info);
  }

  /** Makes the tracks' slots those of the table. Called again when mids or tracks appear, as either may come first. */
  applyBindings() {
    const midOf = slots(this.#bindings);
    const tracks = this.tracks();
    for (const track of tracks) {
      if (track.transceiver && midOf.get(track.id) !== track.transceiver.mid) this.#release(track);
    }
    for (const track of tracks) {
      const mid = midOf.get(track.id);
      const transceiver = mid === undefined ? undefined : this.#slot(mid);
      if (transceiver && !track.transceiver) this.#bind(track, transceiver);
    }
  }

  /** @param {ServerMessage} message */
  #handleTrackMessage(message) {
    const track = 'track' in message && typeof message.track === 'string' ? this.track(message.track) : undefined;
    if (!track) return undefined;
    switch (message.type) {
      case 'track_unpublished':
        return this.#removeTrack(track);
      case 'track_muted':
        track.muted = message.muted;
        return this.#tell('trackmuted', track, {});
      case 'track_unavailable':
        return this.#setUnavailable(track, message.reason, message.codec);
      case 'layer_changed':
        track.layer = message.rid;
        return this.#tell('layerchanged', track, { rid: message.rid, temporal: message.temporal });
      case 'track_status': {
        const { wanted, shown, limit, needed, available } = message;
        track.said = { wanted, shown, limit, needed, available };
        return track.muted ? undefined : this.#tell('trackstatus', track, { status: track.said });
      }
      default:
        return undefined;
    }
  }

  /** @param {ParticipantInfo} info */
  #addParticipant(info) {
    const participant = new RemoteParticipant(info);
    this.participants.set(participant.id, participant);
    this.#emit('participantjoined', { participant });
    this.applyBindings();
  }

  /**
   * @param {string} id
   * @param {string} reason
   */
  #removeParticipant(id, reason) {
    const participant = this.participants.get(id);
    if (!participant) return;
    for (const track of [...participant.tracks.values()]) this.#removeTrack(track);
    this.participants.delete(id);
    this.#emit('participantleft', { participant, reason });
  }

  /**
   * @param {string} id
   * @param {import('./protocol.js').ParticipantChanges} changes what is absent stays as it is
   */
  #updateParticipant(id, changes) {
    const participant = this.participants.get(id);
    if (!participant) return;
    const fields = /** @type {const} */ (['state', 'name', 'metadata', 'attributes', 'moderator', 'hand', 'status']);
    const changed = fields.filter((field) => field in changes && JSON.stringify(changes[field]) !== JSON.stringify(participant[field]));
    for (const field of changed) Object.assign(participant, { [field]: changes[field] });
    if (changed.length > 0) this.#emit('participantupdated', { participant });
  }

  /**
   * @param {string} participantId
   * @param {TrackInfo} info
   */
  #addTrack(participantId, info) {
    const participant = this.participants.get(participantId);
    if (!participant) return;
    const known = participant.tracks.get(info.track);
    if (known) this.#removeTrack(known);
    const track = new RemoteTrack(info, participant);
    participant.tracks.set(track.id, track);
    this.#tell('trackpublished', track, {});
    this.applyBindings();
  }

  /** @param {RemoteTrack} track */
  #removeTrack(track) {
    this.#release(track);
    track.participant.tracks.delete(track.id);
    this.#tell('trackunpublished', track, {});
  }

  /** @param {Bindings} message */
  #handleBindings({ bindings, unbound }) {
    const before = slots(this.#bindings);
    const now = slots(bindings);
    // A status is one of a slot.
    for (const track of this.tracks()) if (before.get(track.id) !== now.get(track.id)) track.said = null;
    this.#bindings = bindings;
    this.applyBindings();
    // A compact table does not list what waits for a slot.
    const placed = new Set([...bindings, ...unbound].map(({ track }) => track));
    for (const track of this.tracks()) {
      if (!placed.has(track.id) && track.unavailable !== 'codec') this.#setUnavailable(track, 'slots', track.codec);
      else if (placed.has(track.id) && track.unavailable === 'slots') track.unavailable = null;
    }
  }

  /**
   * @param {RemoteTrack} track
   * @param {RTCRtpTransceiver} transceiver
   */
  #bind(track, transceiver) {
    const obstacle = this.#obstacle(track);
    if (obstacle) return this.#setUnavailable(track, obstacle, track.codec);
    const mediaStreamTrack = transceiver.receiver.track;
    const stream = new MediaStream([mediaStreamTrack]);
    // Whether its key is here by now is told with its first frames.
    Object.assign(track, { transceiver, mediaStreamTrack, stream, unavailable: track.unavailable === 'key' ? 'key' : null });
    this.#tell('tracksubscribed', track, { mediaStreamTrack, stream });
  }

  /** @param {RemoteTrack} track */
  #release(track) {
    if (!track.transceiver) return;
    Object.assign(track, { transceiver: null, mediaStreamTrack: null, stream: null, layer: null });
    this.#tell('trackunsubscribed', track, {});
  }

  /**
   * @param {RemoteTrack} track
   * @param {string} reason
   * @param {string} codec
   */
  #setUnavailable(track, reason, codec) {
    if (track.unavailable === reason) return;
    track.unavailable = reason;
    this.#tell('trackunavailable', track, { reason, codec });
  }

  /**
   * @template {keyof import('./events.js').RoomEvents} K
   * @param {K} type an event of a track
   * @param {RemoteTrack} track
   * @param {Omit<import('./events.js').RoomEvents[K], 'participant' | 'track'>} more the rest of its detail
   */
  #tell(type, track, more) {
    this.#emit(type, /** @type {any} */ ({ participant: track.participant, track, ...more }));
  }
}

/**
 * Which slot each track has.
 * @param {{mid: string, track: string | null}[]} bindings
 */
function slots(bindings) {
  return new Map(bindings.map(({ mid, track }) => [track, mid]));
}
