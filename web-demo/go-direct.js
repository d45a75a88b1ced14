/**
 * @module
 * Lets a meeting of two go direct: camera and microphone from browser to browser, without the server in between. Both have to
 * want it. The server stays in reach: it takes over as soon as a third comes, or the way between the two fails.
 *
 * The offer goes through the room, to the other alone, and the server says whose it is. It names a channel of the relay that nobody
 * can guess: whoever else has a token of the room, and waits in its lobby or was sent away, could be in any other.
 */
import { DirectCall } from './client/direct.js';
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {{video: MediaStreamTrack | null, audio: MediaStreamTrack | null}} DirectMedia */

/**
 * @typedef {object} Handlers
 * @property {(media: DirectMedia | null) => void} show media of the other that come directly; null: they come through the server
 * @property {() => void} changed what the button says is another
 * @property {(name: string, accept: () => void) => () => void} offered the other wants to; returns what takes the offer from the page
 * @property {(sentence: string) => void} tell
 * @property {() => Promise<RTCIceServer[]>} iceServers of the server's configuration
 */

/** Of what is said in the room. */
const TOPIC = 'go-direct';
/** A channel as `newChannel` makes it. */
const CHANNEL = /^[0-9a-f]{32}$/;
/** How long an offer stands. */
const OFFER_MS = 30_000;

export class GoDirect {
  #room;
  #url;
  #handlers;
  /** @type {DirectCall | null} */
  #call = null;
  /** Of the relay, for the call that is under way. */
  #channel = '';
  /** Takes the other's offer from the page. */
  #withdraw = () => {};
  /** The channel of that offer; empty: none stands. */
  #asked = '';
  #timer = 0;
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
      room.on('permissionschanged', refresh),
      room.on('localtrackupdated', () => this.#sync()),
      room.on('data', (received) => received.topic === TOPIC && this.#hear(received)),
    ];
    this.#refresh();
  }

  /** Whether there is somebody to go direct with, and nobody else. */
  get possible() {
    // Who introduces two browsers to each other could stand between them: what is encrypted end to end stays with its own keys.
    return this.#other !== undefined && this.#room.canPublish && this.#room.canPublishData && !this.#room.encrypted;
  }

  /** The one other in the room. */
  get #other() {
    const [first, ...more] = this.#room.participants.values();
    return more.length === 0 ? first : undefined;
  }

  /** @returns {'off' | 'offered' | 'on'} */
  get state() {
    if (!this.#call) return 'off';
    return this.#call.state === 'connected' ? 'on' : 'offered';
  }

  toggle() {
    if (this.#call) this.#end('');
    // Who wants to while the other asks says yes: two channels would be one too many.
    else if (this.possible && this.#asked) this.#begin(this.#asked);
    else if (this.possible) this.#offer();
  }

  close() {
    for (const stop of this.#stop) stop();
    this.#withdraw();
    this.#end('');
  }

  #refresh() {
    if (!this.possible) {
      this.#withdraw();
      this.#end(this.#room.participants.size > 1 ? t('Now you are more than two: pictures and sound go through the server again.') : '');
    }
    this.#handlers.changed();
  }

  #offer() {
    const channel = newChannel();
    this.#begin(channel);
    this.#tell({ channel }).catch((error) => channel === this.#channel && this.#end(t(error.message)));
  }

  /** @param {{channel: string, withdrawn?: true}} note for the other */
  #tell(note) {
    return this.#room.publishData(JSON.stringify(note), { topic: TOPIC, to: [this.#other?.identity ?? ''] });
  }

  /** @param {import('./client/data.js').Received} received */
  #hear({ payload, identity }) {
    const note = parse(payload);
    if (!note || identity !== this.#other?.identity || !this.possible) return;
    const { channel } = note;
    if (note.withdrawn) {
      this.#withdraw();
    } else if (this.#call) {
      // Both want to. They meet in one of the two channels, and agree which by looking at both.
      if (this.state === 'offered' && channel < this.#channel) this.#begin(channel);
    } else {
      this.#withdraw();
      const take = this.#handlers.offered(this.#other.name, () => this.possible && !this.#call && this.#begin(channel));
      this.#asked = channel;
      this.#withdraw = () => {
        this.#asked = '';
        take();
      };
    }
  }

  /** @param {string} channel */
  #begin(channel) {
    this.#withdraw();
    clearTimeout(this.#timer);
    this.#call?.close();
    this.#sent = new MediaStream();
    this.#channel = channel;
    const iceServers = this.#room.peerConnection?.getConfiguration().iceServers ?? [];
    const call = new DirectCall(this.#url, { channel, name: this.#room.name, iceServers });
    this.#call = call;
    // Those of the join may have ended.
    this.#handlers.iceServers().then((fresh) => call.useIceServers(fresh), () => undefined);
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
    // Whoever was asked and has not answered is asked no more.
    if (this.state === 'offered' && this.possible) void this.#tell({ channel: this.#channel, withdrawn: true }).catch(() => undefined);
    this.#call = null;
    this.#channel = '';
    this.#sent = new MediaStream();
    call.close();
    this.#handlers.show(null);
    if (sentence) this.#handlers.tell(sentence);
    this.#handlers.changed();
  }
}

/** 128 random bits. */
function newChannel() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * What the other said; null: nothing that we understand.
 * @param {string | Uint8Array} payload
 * @returns {{channel: string, withdrawn: boolean} | null}
 */
function parse(payload) {
  try {
    const { channel, withdrawn } = JSON.parse(String(payload));
    return typeof channel === 'string' && CHANNEL.test(channel) ? { channel, withdrawn: withdrawn === true } : null;
  } catch {
    return null;
  }
}
