/**
 * @module
 * Lets a meeting of two go direct: camera and microphone from browser to browser, without the server in between. Both have to
 * want it. The server stays in reach: it takes over as soon as a third comes, or the way between the two fails.
 */
import { Channel } from './client/channel.js';
import { DirectCall } from './client/direct.js';
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {{video: MediaStreamTrack | null, audio: MediaStreamTrack | null}} DirectMedia */

/**
 * @typedef {object} Handlers
 * @property {(media: DirectMedia | null) => void} show media of the other that come directly; null: they come through the server
 * @property {() => void} changed what the button says is another
 * @property {(name: string, accept: () => void) => void} offered the other wants to
 * @property {(sentence: string) => void} tell
 */

/** Of the relay, beside whatever else is said in the room. */
const CHANNEL = 'go direct';
/** How long an offer stands. */
const OFFER_MS = 30_000;

export class GoDirect {
  #room;
  #url;
  #handlers;
  /** Hears offers while nothing is under way. @type {Channel | null} */
  #ear = null;
  /** @type {DirectCall | null} */
  #call = null;
  #timer = 0;
  #offerSeen = '';
  /** One stream for the life of a call: what is in it is what we send. */
  #sent = new MediaStream();
  #stop;

  /**
   * @param {Room} room
   * @param {string | URL} url of the relay, for this room
   * @param {Handlers} handlers
   */
  constructor(room, url, handlers) {
    this.#room = room;
    this.#url = url;
    this.#handlers = handlers;
    const refresh = () => this.#refresh();
    this.#stop = [
      room.on('participantjoined', refresh),
      room.on('participantleft', refresh),
      room.on('statechange', refresh),
      room.on('localtrackupdated', () => this.#sync()),
    ];
    this.#refresh();
  }

  /** Whether there is somebody to go direct with, and nobody else. */
  get possible() {
    // Who introduces two browsers to each other could stand between them: what is encrypted end to end stays with its own keys.
    return this.#room.participants.size === 1 && this.#room.canPublish && !this.#room.encrypted;
  }

  /** @returns {'off' | 'offered' | 'on'} */
  get state() {
    if (!this.#call) return 'off';
    return this.#call.state === 'connected' ? 'on' : 'offered';
  }

  toggle() {
    if (this.#call) this.#end('');
    else if (this.possible) this.#begin();
  }

  close() {
    for (const stop of this.#stop) stop();
    this.#end('');
    this.#ear?.close();
    this.#ear = null;
  }

  #refresh() {
    if (!this.possible) {
      this.#end(this.#room.participants.size > 1 ? t('Now you are more than two: pictures and sound go through the server again.') : '');
      this.#ear?.close();
      this.#ear = null;
    } else if (!this.#ear && !this.#call) {
      this.#listen();
    }
    this.#handlers.changed();
  }

  #listen() {
    const ear = new Channel(this.#url, CHANNEL);
    this.#ear = ear;
    ear.on('message', ({ data }) => {
      const note = /** @type {import('./client/direct.js').Note} */ (data);
      // An offer is repeated as long as it stands.
      if (!note?.hello || note.to !== undefined || note.from === this.#offerSeen) return;
      this.#offerSeen = note.from;
      this.#handlers.offered(String(note.name ?? '').slice(0, 64), () => this.possible && !this.#call && this.#begin());
    });
  }

  #begin() {
    this.#ear?.close();
    this.#ear = null;
    const iceServers = this.#room.peerConnection?.getConfiguration().iceServers ?? [];
    const call = new DirectCall(this.#url, { channel: CHANNEL, name: this.#room.name, iceServers });
    this.#call = call;
    this.#timer = window.setTimeout(() => this.#end(t('No direct way was found, or the other did not want to. The meeting goes on through the server.')), OFFER_MS);
    call.on('statechange', ({ state, message }) => {
      if (call !== this.#call) return;
      if (state === 'connected') clearTimeout(this.#timer);
      else if (state === 'closed') this.#end(message);
      else if (state === 'reconnecting') this.#end(t('The direct way failed. The meeting goes on through the server.'));
      else if (state === 'waiting' && message) this.#end(t('The meeting goes on through the server.'));
      this.#handlers.changed();
    });
    call.on('picture', ({ picture, stream }) => {
      if (call !== this.#call || picture !== 'camera') return;
      this.#handlers.show(stream && { video: stream.getVideoTracks()[0] ?? null, audio: stream.getAudioTracks()[0] ?? null });
    });
    this.#sync();
    this.#handlers.changed();
  }

  /** Sends what the meeting is sent. A muted track is silent by itself. */
  #sync() {
    const call = this.#call;
    if (!call) return;
    const wanted = [...this.#room.localTracks]
      .filter(({ source, mediaStreamTrack }) => (source === 'camera' || source === 'microphone') && mediaStreamTrack.readyState === 'live')
      .map(({ mediaStreamTrack }) => mediaStreamTrack);
    for (const track of this.#sent.getTracks()) {
      if (wanted.includes(track)) continue;
      this.#sent.removeTrack(track);
      call.remove(track);
    }
    for (const track of wanted) {
      if (this.#sent.getTracks().includes(track)) continue;
      this.#sent.addTrack(track);
      call.add(track, this.#sent, 'camera');
    }
  }

  /** Back to the server. @param {string} sentence why; empty for no reason to tell */
  #end(sentence) {
    const call = this.#call;
    if (!call) return;
    clearTimeout(this.#timer);
    this.#call = null;
    this.#sent = new MediaStream();
    call.close();
    this.#handlers.show(null);
    if (sentence) this.#handlers.tell(sentence);
    if (this.possible) this.#listen();
    this.#handlers.changed();
  }
}
