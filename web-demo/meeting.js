/**
 * @module
 * Shows a room: one tile per person, one per shared screen, one audio element per voice. Every event ends in `#update` of one
 * participant, which makes the tiles what the room says, whatever they were before.
 */
import { Grid } from './grid.js';
import { Tile } from './tile.js';
import { announce, toast } from './notices.js';
import { element } from './dom.js';
import { secretNote } from './passphrase.js';
import { describeQuality } from './quality.js';
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/index.js').RemoteParticipant} RemoteParticipant */
/** @typedef {import('./client/index.js').RemoteTrack} RemoteTrack */
/** @typedef {import('./client/index.js').LocalTrack} LocalTrack */

/**
 * What the tiles need of a track, be it local or remote.
 * @typedef {object} Shown
 * @property {string} id
 * @property {string} source
 * @property {string} kind
 * @property {boolean} muted
 * @property {MediaStreamTrack | null} picture
 * @property {string} note
 * @property {boolean} encrypted
 * @property {boolean} [direct] the picture does not come through the server
 */

/** @typedef {{key: string, participant: string, source: string, name: string, seed: string, local: boolean, track: Shown | undefined, audio: Shown | undefined, note: string, micOff: boolean, locked: boolean}} Wanted */

/** What of the others' pictures is wanted. @typedef {'full' | 'small' | 'none'} Pictures */
/** @typedef {{key: string, participant: string, tile: Tile, shows: string, priority: 'normal' | 'high', direct: boolean, detach: () => void}} Entry */

const CODEC_NAMES = /** @type {Record<string, string>} */ ({ AV1X: 'AV1', H264: 'H.264', H265: 'H.265' });

export class Meeting {
  #room;
  /** Where the tiles are, and what of that was chosen. */
  grid;
  /** `shows`: the track of somebody else's that the tile is attached to, if any. @type {Map<string, Entry>} */
  #tiles = new Map();
  /** @type {Map<string, HTMLAudioElement>} */
  #voices = new Map();
  #local = '';
  /** @type {Pictures} */
  #pictures = 'full';
  /** What of the one other comes directly. @type {import('./go-direct.js').DirectMedia | null} */
  #direct = null;
  /** The voice that comes directly. @type {HTMLAudioElement | null} */
  #directVoice = null;
  #speaker;
  #stop;

  /**
   * @param {Room} room
   * @param {import('./client/speaker.js').Speaker} speaker
   * @param {() => void} changed another layout
   */
  constructor(room, speaker, changed) {
    this.#room = room;
    this.#speaker = speaker;
    this.grid = new Grid(() => {
      for (const entry of this.#tiles.values()) this.#follow(entry);
      changed();
    });
    this.#stop = this.#listen();
    this.#updateLocal();
    for (const participant of room.participants.values()) this.#update(participant);
  }

  /** Tiles on screen. */
  get tiles() {
    return [...this.#tiles.values()].map(({ tile }) => tile);
  }

  /**
   * Camera and microphone of the one other come directly, or with null through the server again.
   * @param {import('./go-direct.js').DirectMedia | null} direct
   */
  showDirect(direct) {
    this.#direct = direct;
    if (this.#directVoice) this.#directVoice.srcObject = null;
    if (this.#directVoice) this.#speaker.release(this.#directVoice);
    this.#directVoice = direct?.audio ? Object.assign(document.createElement('audio'), { autoplay: true, srcObject: new MediaStream([direct.audio]) }) : null;
    if (this.#directVoice) this.#speaker.lead(this.#directVoice);
    for (const participant of this.#room.participants.values()) this.#update(participant);
  }

  get pictures() {
    return this.#pictures;
  }

  /** All of them as large as they are shown, or small, or none: the server then sends no more. @param {Pictures} pictures */
  wantPictures(pictures) {
    if (pictures === this.#pictures) return;
    this.#pictures = pictures;
    for (const { tile } of this.#tiles.values()) tile.setExtent(pictures);
    for (const entry of this.#tiles.values()) this.#watch(entry);
    for (const participant of this.#room.participants.values()) this.#update(participant);
  }

  /**
   * Shows for a moment how somebody reacts.
   * @param {string} participant
   * @param {string} reaction
   */
  react(participant, reaction) {
    for (const { participant: owner, tile } of this.#tiles.values()) {
      if (owner === participant && tile.element.dataset.source !== 'screen_share') tile.react(reaction);
    }
  }

  close() {
    this.showDirect(null);
    for (const stop of this.#stop) stop();
    for (const { tile, detach } of this.#tiles.values()) {
      detach();
      tile.close();
    }
    for (const [id, voice] of this.#voices) this.#removeVoice(id, voice);
    this.#tiles.clear();
    this.#voices.clear();
    this.grid.clear();
  }

  #listen() {
    const room = this.#room;
    const changed = /** @param {{participant: RemoteParticipant}} detail */ ({ participant }) => this.#update(participant);
    return [
      room.on('participantjoined', (detail) => {
        changed(detail);
        if (room.state === 'connected') announce(t('{name} joined.', { name: detail.participant.name }));
      }),
      room.on('participantleft', ({ participant }) => {
        this.#remove(participant);
        if (room.state === 'connected') announce(t('{name} left.', { name: participant.name }));
      }),
      room.on('participantupdated', changed),
      room.on('trackpublished', (detail) => {
        changed(detail);
        if (detail.track.source === 'screen_share') announce(t('{name} shares a screen.', { name: detail.participant.name }));
      }),
      room.on('trackunpublished', changed),
      room.on('trackmuted', changed),
      room.on('tracksubscribed', changed),
      room.on('trackunsubscribed', changed),
      room.on('trackunavailable', changed),
      room.on('trackavailable', changed),
      room.on('trackstatus', ({ track }) => this.#tileOf(track.id)?.refreshQuality()),
      room.on('localtrackupdated', () => this.#updateLocal()),
      room.people.on('changed', () => this.#updateLocal()),
      room.on('statechange', () => {
        this.#showSpeakers([]);
        this.#updateLocal();
      }),
      room.on('activespeakers', ({ speakers }) => this.#showSpeakers(speakers.map(({ participant }) => participant))),
    ];
  }

  #updateLocal() {
    const { participantId, name, localTracks } = this.#room;
    if (this.#local !== participantId) this.#removeTiles(this.#local);
    this.#local = participantId;
    const tracks = [...localTracks].map((track) => ({
      id: track.id,
      source: track.source,
      kind: track.kind,
      muted: track.muted,
      picture: track.muted || track.mediaStreamTrack.readyState === 'ended' ? null : track.mediaStreamTrack,
      note: '',
      encrypted: track.encrypted,
    }));
    this.#reconcile(participantId, wantedTiles({ id: participantId, name: t('{name} (you)', { name }), seed: this.#room.identity, local: true, note: '' }, tracks));
    this.#showHand(participantId, this.#room.people.hand);
  }

  /** @param {RemoteParticipant} participant */
  #update(participant) {
    if (this.#room.participants.get(participant.id) !== participant) return;
    const tracks = [...participant.tracks.values()];
    const shown = tracks.map((track) => {
      const direct = (track.source === 'camera' && this.#direct?.video) || null;
      return {
        id: track.id,
        source: track.source,
        kind: track.kind,
        muted: track.muted,
        picture: track.muted || track.unavailable === 'key' || this.#pictures === 'none' ? null : (direct ?? track.mediaStreamTrack),
        note: noteFor(track),
        encrypted: track.encrypted,
        direct: direct !== null,
      };
    });
    const note = participant.state === 'reconnecting' ? t('Reconnecting…') : '';
    this.#reconcile(participant.id, wantedTiles({ id: participant.id, name: participant.status === 'away' ? t('{name} (away)', { name: participant.name }) : participant.name, seed: participant.identity, local: false, note }, shown));
    this.#showHand(participant.id, participant.hand);
    this.#updateVoices(participant);
  }

  /** @param {string} participant @param {number} hand */
  #showHand(participant, hand) {
    for (const { participant: owner, tile } of this.#tiles.values()) {
      if (owner === participant) tile.setHand(hand > 0 && tile.element.dataset.source !== 'screen_share');
    }
  }

  /** @param {RemoteParticipant} participant */
  #remove(participant) {
    this.#removeTiles(participant.id);
    for (const [id, voice] of this.#voices) {
      if (voice.dataset.participant === participant.id) this.#removeVoice(id, voice);
    }
    this.#showAlone();
  }

  /** @param {string} participant */
  #removeTiles(participant) {
    this.#reconcile(participant, []);
  }

  /**
   * @param {string} participant
   * @param {Wanted[]} wanted
   */
  #reconcile(participant, wanted) {
    for (const [key, { participant: owner, tile, detach }] of this.#tiles) {
      if (owner !== participant || wanted.some((one) => one.key === key)) continue;
      detach();
      tile.close();
      this.#tiles.delete(key);
      this.grid.remove(key);
    }
    for (const one of wanted) {
      let entry = this.#tiles.get(one.key);
      if (!entry) {
        entry = this.#makeEntry(one);
        this.#tiles.set(one.key, entry);
      }
      const { tile } = entry;
      tile.setName(one.name);
      tile.setPicture(one.track?.id ?? '', one.track?.picture ?? null);
      tile.setMicOff(one.micOff);
      tile.setLock(one.locked);
      tile.setNote(one.track?.note || one.audio?.note || one.note);
      this.#attach(entry, one);
      tile.statsOf = [one.track?.id, one.audio?.id].filter((id) => id !== undefined && id !== '').map(String);
    }
    this.#showAlone();
  }

  /** @param {Wanted} one @returns {Entry} */
  #makeEntry(one) {
    const { key, participant, source, local } = one;
    const screen = source === 'screen_share';
    const tile = new Tile(one, () => this.grid.pin(key));
    tile.setExtent(this.#pictures);
    this.grid.add({ key, participant, own: local && !screen && key.endsWith(' person'), screen, name: () => tile.name, element: tile.element });
    return { key, participant, tile, shows: '', priority: 'normal', direct: false, detach: () => undefined };
  }

  /**
   * Lets the room know what the tile shows: it is the tile that counts, as a picture that has not come yet takes no room.
   * @param {Entry} entry
   * @param {Wanted} one
   */
  #attach(entry, { track, local }) {
    // What comes directly is nothing that the server has to send.
    const shows = local || !track || track.muted || track.direct ? '' : track.id;
    if (entry.shows === shows && entry.direct === (track?.direct ?? false)) return;
    Object.assign(entry, { shows, direct: track?.direct ?? false });
    this.#watch(entry);
    entry.tile.setQuality((picture) => (entry.direct ? t('Directly, {size}', { size: `${picture.width}×${picture.height}` }) : this.#describe(entry.shows, picture)));
  }

  /** What stands large gets bandwidth first, if it was chosen. @param {Entry} entry */
  #follow(entry) {
    const pinned = this.grid.isPinned(entry.key);
    entry.tile.setPinned(pinned);
    const priority = pinned ? 'high' : 'normal';
    if (entry.priority === priority) return;
    entry.priority = priority;
    this.#watch(entry);
  }

  /** @param {Entry} entry */
  #watch(entry) {
    const { shows, tile } = entry;
    entry.detach();
    entry.detach = shows ? this.#room.attach(shows, this.#pictures === 'full' ? tile.element : tile.extent, entry) : () => undefined;
  }

  /**
   * @param {string} id
   * @param {{width: number, height: number}} picture
   */
  #describe(id, picture) {
    for (const participant of this.#room.participants.values()) {
      const track = participant.tracks.get(id);
      if (track) return describeQuality(track.status, { name: participant.name, screen: track.source === 'screen_share', ...picture });
    }
    return '';
  }

  /** @param {string} track */
  #tileOf(track) {
    return [...this.#tiles.values()].find(({ shows }) => shows === track)?.tile;
  }

  #showAlone() {
    element('alone').hidden = this.#room.participants.size > 0;
  }

  /** @param {RemoteParticipant} participant */
  #updateVoices(participant) {
    for (const [id, voice] of this.#voices) {
      const track = participant.tracks.get(id);
      if (voice.dataset.participant === participant.id && !track?.subscribed) this.#removeVoice(id, voice);
    }
    for (const track of participant.tracks.values()) {
      if (track.kind !== 'audio' || !track.stream) continue;
      const known = this.#voices.get(track.id);
      // It goes on unheard, so that nothing is missing where the direct way ends.
      if (known) known.muted = this.#isDirect(track);
      if (known?.srcObject === track.stream) continue;
      if (known) this.#removeVoice(track.id, known);
      this.#addVoice(participant, track);
    }
  }

  /**
   * @param {RemoteParticipant} participant
   * @param {RemoteTrack} track
   */
  #addVoice(participant, track) {
    const voice = document.createElement('audio');
    Object.assign(voice.dataset, { participant: participant.id, track: track.id, source: track.source });
    voice.id = `audio-${track.id}`;
    voice.autoplay = true;
    voice.srcObject = track.stream;
    voice.muted = this.#isDirect(track);
    this.#speaker.lead(voice);
    element('meeting').append(voice);
    this.#voices.set(track.id, voice);
    voice.play().catch((error) => {
      if (error.name !== 'NotAllowedError') return;
      toast(t('The browser keeps the sound off until you click.'), { label: t('Turn the sound on'), act: () => this.#playAll() });
    });
  }

  /** @param {RemoteTrack} track */
  #isDirect(track) {
    return track.source === 'microphone' && this.#directVoice !== null;
  }

  #playAll() {
    for (const voice of this.#voices.values()) voice.play().catch(() => undefined);
  }

  /**
   * @param {string} id
   * @param {HTMLAudioElement} voice
   */
  #removeVoice(id, voice) {
    this.#speaker.release(voice);
    voice.srcObject = null;
    voice.remove();
    this.#voices.delete(id);
  }

  /** @param {string[]} speaking participant ids, the loudest first */
  #showSpeakers(speaking) {
    for (const { participant, tile } of this.#tiles.values()) {
      tile.setSpeaking(speaking.includes(participant) && tile.element.dataset.source !== 'screen_share');
    }
    this.grid.hear(speaking);
  }
}

/**
 * One tile for the person with their first camera, one for each further camera and each screen.
 * @param {{id: string, name: string, seed: string, local: boolean, note: string}} person
 * @param {Shown[]} tracks
 * @returns {Wanted[]}
 */
function wantedTiles({ id, name, seed, local, note }, tracks) {
  const microphone = tracks.find(({ source }) => source === 'microphone');
  const screenAudio = tracks.find(({ source }) => source === 'screen_share_audio');
  const [camera, ...more] = tracks.filter(({ kind, source }) => kind === 'video' && source !== 'screen_share');
  const common = { participant: id, seed, local };
  const micOff = !microphone || microphone.muted;
  const locked = /** @param {(Shown | undefined)[]} shown */ (...shown) => shown.some((one) => one) && shown.every((one) => !one || one.encrypted);
  /** @type {Wanted[]} */
  const wanted = [{ ...common, key: `${id} person`, source: 'camera', name, track: camera, audio: microphone, note, micOff, locked: locked(camera, microphone) }];
  for (const track of more) {
    wanted.push({ ...common, key: `${id} ${track.id}`, source: 'camera', name: t('{name}, second camera', { name }), track, audio: undefined, note: '', micOff: false, locked: track.encrypted });
  }
  for (const track of tracks.filter(({ source, kind }) => source === 'screen_share' && kind === 'video')) {
    const title = local ? t('Your screen') : t('{name}’s screen', { name });
    wanted.push({ ...common, key: `${id} screen ${local ? '' : track.id}`, source: 'screen_share', name: title, track, audio: screenAudio, note: '', micOff: false, locked: locked(track, screenAudio) });
  }
  return wanted;
}

/** @param {RemoteTrack} track */
function noteFor(track) {
  if (track.kind === 'audio') return secretNote(track);
  const thing = track.source === 'screen_share' ? t('This screen') : t('This camera');
  if (track.unavailable === 'codec') return t('{thing} is sent as {codec}, which this browser cannot play.', { thing, codec: CODEC_NAMES[track.codec] ?? track.codec });
  if (track.unavailable === 'slots') return t('Not shown: too many videos at once.');
  return secretNote(track);
}
