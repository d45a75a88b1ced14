/**
 * @module
 * A call of two without a server in between: offers, answers and candidates go through a channel, media and data directly.
 *
 * The negotiation is "perfect": either side may change what it sends at any time. When both offer at once, the polite one, whose
 * id is smaller, takes its own offer back. The first offer is the other's alone: nothing is gained by two.
 */
import { Channel } from './channel.js';
import { Emitter } from './events.js';

/** @typedef {'camera' | 'screen'} Picture */
/** @typedef {'waiting' | 'connecting' | 'connected' | 'reconnecting' | 'closed'} CallState `waiting`: nobody else is there yet */
/** @typedef {{sent: boolean, what: string, detail: string, at: number}} Exchanged one message of the signaling; `at` in ms since the call began */
/** @typedef {Record<string, Picture>} Pictures stream id → what it is */

/**
 * What one says to the other. Without `to` it is for everybody.
 * @typedef {object} Note
 * @property {string} from
 * @property {string} [to]
 * @property {string} [name]
 * @property {true} [hello] I am here
 * @property {true} [busy] there are two already
 * @property {true} [back] I was away from the relay, and may have missed something
 * @property {true} [bye]
 * @property {RTCSessionDescriptionInit} [description]
 * @property {Pictures} [pictures] with a description: what its streams are
 * @property {RTCIceCandidateInit | null} [candidate]
 */

/**
 * Events and their `detail`.
 * @typedef {object} CallEvents
 * @property {{state: CallState, message: string}} statechange `message` is a sentence for people, or empty
 * @property {{connection: RTCPeerConnection, chat: RTCDataChannel, files: RTCDataChannel}} connection a new one, for a new peer
 * @property {{picture: Picture, stream: MediaStream | null}} picture of the other; null: it is gone
 * @property {{entry: Exchanged}} exchanged
 */

/**
 * @typedef {object} CallOptions
 * @property {string} channel
 * @property {string} name for the other
 * @property {RTCIceServer[]} iceServers
 * @property {boolean} [relayOnly] through a TURN server even where a direct way exists
 */

const HELLO_EVERY_MS = 3000;
/** Of one connection; there is one per address and protocol, and again after every restart. */
const CANDIDATES_MAX = 64;
const BUSY = 'Two people are in this call already. You get in when one of them leaves.';

/** @extends {Emitter<CallEvents>} */
export class DirectCall extends Emitter {
  /** @type {CallState} */
  state = 'waiting';
  /** @type {RTCPeerConnection | null} */
  connection = null;
  peerName = '';
  #options;
  #channel;
  #id = randomId();
  #peer = '';
  #began = performance.now();
  #hello = 0;
  /** Whether what is sent is on the connection. */
  #filled = false;
  #makingOffer = false;
  #ignoredOffer = false;
  /** No way to the peer was found, or none is left. */
  #failed = false;
  /** Why the relay does not take us any more; empty: it does. */
  #refusal = '';
  /** What of ours the peer was told, in case it was not there. @type {RTCIceCandidateInit[]} */
  #candidates = [];
  /** One message after the other, also where one takes time. */
  #queue = Promise.resolve();
  /** What is sent. @type {Map<MediaStreamTrack, MediaStream>} */
  #local = new Map();
  /** @type {Pictures} */
  #localPictures = {};
  /** @type {Pictures} */
  #remotePictures = {};

  /**
   * @param {string | URL} url of the relay, for example `wss://example.org/channel`
   * @param {CallOptions} options
   */
  constructor(url, options) {
    super();
    this.#options = options;
    this.#channel = new Channel(url, options.channel);
    this.#channel.on('open', () => this.#come());
    this.#channel.on('message', ({ data }) => this.#enqueue(/** @type {Note} */ (data)));
    this.#channel.on('lost', () => {
      // A call that stands needs the relay no more, until something changes.
      if (this.state === 'waiting') this.#setState('waiting', 'The server cannot be reached. Trying again…');
    });
    this.#channel.on('refused', ({ message }) => {
      this.#refusal = message;
      if (this.connection?.connectionState !== 'connected') this.#end(message);
    });
    this.#hello = window.setInterval(() => this.#peer === '' && this.#sayHello(), HELLO_EVERY_MS);
  }

  /**
   * Sends a track, from now on and to whoever comes.
   * @param {MediaStreamTrack} track
   * @param {MediaStream} stream
   * @param {Picture} picture what the stream is
   */
  add(track, stream, picture) {
    this.#local.set(track, stream);
    this.#localPictures[stream.id] = picture;
    if (this.#filled) this.connection?.addTrack(track, stream);
  }

  /** @param {MediaStreamTrack} track */
  remove(track) {
    const stream = this.#local.get(track);
    this.#local.delete(track);
    if (stream && ![...this.#local.values()].includes(stream)) delete this.#localPictures[stream.id];
    const sender = this.connection?.getSenders().find((one) => one.track === track);
    if (sender) this.connection?.removeTrack(sender);
  }

  /**
   * For the next connection, and the next ICE restart of this one: credentials of TURN servers end.
   * @param {RTCIceServer[]} iceServers
   */
  useIceServers(iceServers) {
    this.#options.iceServers = iceServers;
    this.connection?.setConfiguration({ ...this.connection.getConfiguration(), iceServers });
  }

  close() {
    if (this.state === 'closed') return;
    if (this.#peer) this.#say({ bye: true });
    this.#end('');
  }

  /** @param {string} message */
  #end(message) {
    clearInterval(this.#hello);
    this.#channel.close();
    this.#dropConnection();
    this.#setState('closed', message);
  }

  /** In the channel, for the first time or again: what was said meanwhile was heard by nobody. */
  #come() {
    this.#sayHello();
    if (this.#peer === '') return;
    this.#say({ back: true });
    this.#repeat();
  }

  /** Says again what the peer may have missed: an offer without an answer, and where we are. */
  #repeat() {
    const { connection } = this;
    if (connection?.signalingState === 'have-local-offer') this.#describe(connection);
    const sdp = connection?.localDescription?.sdp ?? '';
    for (const candidate of this.#candidates) {
      // Others belong to what was before a restart.
      if (sdp.includes(`a=ice-ufrag:${candidate.usernameFragment}\r`)) this.#say({ candidate });
    }
  }

  #sayHello() {
    if (this.#peer === '') this.#channel.say({ from: this.#id, name: this.#options.name, hello: true });
  }

  /** @param {Omit<Note, 'from' | 'to'>} note for the peer */
  #say(note) {
    this.#channel.say({ from: this.#id, to: this.#peer, ...note });
    this.#log(true, note);
  }

  /** @param {Note} note */
  #enqueue(note) {
    if (typeof note !== 'object' || note === null || typeof note.from !== 'string') return;
    if (note.to !== undefined && note.to !== this.#id) return;
    this.#queue = this.#queue.then(() => this.#handle(note)).catch((error) => console.warn('direct call:', error));
  }

  /** @param {Note} note */
  async #handle(note) {
    if (this.state === 'closed') return;
    if (note.busy) {
      // The peer may have found another one before it heard us.
      if (note.from === this.#peer) this.#lostPeer(BUSY);
      else if (this.#peer === '') this.#setState('waiting', BUSY);
      return;
    }
    if (note.hello) this.#greet(note);
    if (note.from !== this.#peer) return;
    if (!note.hello) this.#log(false, note);
    if (note.bye) this.#lostPeer('The other has left.');
    else if (note.description) await this.#takeDescription(note.description, note.pictures ?? {});
    else if (note.candidate !== undefined) await this.#takeCandidate(note.candidate);
    else if (note.back) this.#repeat();
  }

  /** @param {Note} note */
  #greet(note) {
    if (note.from === this.#peer) {
      // It still looks for somebody: what we said to it was lost.
      if (note.to === undefined) {
        this.#answerHello();
        this.#repeat();
      }
      return;
    }
    // Whoever has lost the other for good takes who comes: it may be the same person with a new page.
    if (this.#peer !== '' && !this.#failed) {
      this.#channel.say({ from: this.#id, to: note.from, busy: true });
      return;
    }
    if (this.#peer !== '') this.#say({ bye: true });
    this.#peer = note.from;
    this.peerName = String(note.name ?? '').slice(0, 64);
    this.#answerHello();
    this.#log(false, note);
    this.#connect();
  }

  /** The other may have come before us, and then has not heard us yet. */
  #answerHello() {
    this.#channel.say({ from: this.#id, to: this.#peer, name: this.#options.name, hello: true });
  }

  #connect() {
    this.#dropConnection();
    this.#filled = false;
    this.#failed = false;
    this.#candidates = [];
    const { iceServers, relayOnly } = this.#options;
    const connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: relayOnly ? 'relay' : 'all' });
    this.connection = connection;
    this.#remotePictures = {};
    connection.onnegotiationneeded = () => void this.#offer(connection);
    connection.onicecandidate = ({ candidate }) => this.#sayCandidate(candidate?.toJSON() ?? null);
    connection.ontrack = ({ track, streams: [stream] }) => this.#takeTrack(track, stream);
    connection.onconnectionstatechange = () => this.#follow(connection);
    this.#setState('connecting', '');
    if (!this.#isPolite()) this.#fill(connection);
  }

  /** @param {RTCIceCandidateInit | null} candidate */
  #sayCandidate(candidate) {
    this.#say({ candidate });
    if (!candidate) return;
    this.#candidates.push(candidate);
    if (this.#candidates.length > CANDIDATES_MAX) this.#candidates.shift();
  }

  #isPolite() {
    return this.#id < this.#peer;
  }

  /** Puts all that is sent onto a new connection. @param {RTCPeerConnection} connection */
  #fill(connection) {
    this.#filled = true;
    // Both sides agree on the numbers beforehand, so neither has to open them for the other.
    const chat = connection.createDataChannel('chat', { negotiated: true, id: 0 });
    const files = connection.createDataChannel('files', { negotiated: true, id: 1 });
    this.emit('connection', { connection, chat, files });
    for (const [track, stream] of this.#local) connection.addTrack(track, stream);
  }

  /** @param {RTCPeerConnection} connection */
  async #offer(connection) {
    try {
      this.#makingOffer = true;
      await connection.setLocalDescription();
      this.#describe(connection);
    } catch (error) {
      console.warn('direct call:', error);
    } finally {
      this.#makingOffer = false;
    }
  }

  /** @param {RTCPeerConnection} connection */
  #describe(connection) {
    if (connection === this.connection && connection.localDescription) {
      this.#say({ description: connection.localDescription.toJSON(), pictures: this.#localPictures });
    }
  }

  /**
   * @param {RTCSessionDescriptionInit} description
   * @param {Pictures} pictures
   */
  async #takeDescription(description, pictures) {
    const { connection } = this;
    // The answer to an offer that was said twice.
    if (!connection || (description.type === 'answer' && connection.signalingState === 'stable')) return;
    const collision = description.type === 'offer' && (this.#makingOffer || connection.signalingState !== 'stable');
    this.#ignoredOffer = collision && !this.#isPolite();
    if (this.#ignoredOffer) return;
    this.#remotePictures = pictures;
    await connection.setRemoteDescription(description);
    if (description.type !== 'offer') return;
    if (!this.#filled) this.#fill(connection);
    await connection.setLocalDescription();
    this.#describe(connection);
  }

  /** @param {RTCIceCandidateInit | null} candidate */
  async #takeCandidate(candidate) {
    try {
      await this.connection?.addIceCandidate(candidate ?? undefined);
    } catch (error) {
      // It belongs to the offer that was not taken.
      if (!this.#ignoredOffer) throw error;
    }
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {MediaStream} stream
   */
  #takeTrack(track, stream) {
    const picture = this.#remotePictures[stream.id] ?? 'camera';
    const show = () => this.emit('picture', { picture, stream: stream.getTracks().length > 0 ? stream : null });
    stream.onremovetrack = show;
    track.onunmute = show;
    show();
  }

  /** @param {RTCPeerConnection} connection */
  #follow(connection) {
    if (connection !== this.connection) return;
    switch (connection.connectionState) {
      case 'connected':
        this.#failed = false;
        this.#setState('connected', '');
        break;
      case 'disconnected':
        this.#setState('reconnecting', 'The connection is interrupted.');
        break;
      case 'failed':
        if (this.#refusal) return this.#end(this.#refusal);
        this.#failed = true;
        this.#setState('reconnecting', 'No way between the two was found. Trying again…');
        connection.restartIce();
        break;
      case 'closed':
        break;
    }
    return undefined;
  }

  /** @param {string} message */
  #lostPeer(message) {
    this.#peer = '';
    this.#dropConnection();
    this.#setState('waiting', message);
  }

  #dropConnection() {
    const { connection } = this;
    this.connection = null;
    connection?.close();
    for (const picture of /** @type {Picture[]} */ (['camera', 'screen'])) this.emit('picture', { picture, stream: null });
  }

  /**
   * @param {CallState} state
   * @param {string} message
   */
  #setState(state, message) {
    this.state = state;
    this.emit('statechange', { state, message });
  }

  /**
   * @param {boolean} sent
   * @param {Partial<Note>} note
   */
  #log(sent, note) {
    this.emit('exchanged', { entry: { sent, ...describe(note), at: performance.now() - this.#began } });
  }
}

/** @param {Partial<Note>} note */
function describe({ description, candidate, bye, back }) {
  if (description) {
    const sections = description.sdp?.match(/^m=\w+/gm)?.map((line) => line.slice(2)) ?? [];
    return { what: description.type, detail: sections.join(', ') };
  }
  if (candidate === null) return { what: 'end of candidates', detail: '' };
  if (candidate) {
    const [, , protocol, , address, port, , type] = (candidate.candidate ?? '').split(' ');
    return type ? { what: 'candidate', detail: `${type}, ${protocol} ${address}:${port}` } : { what: 'end of candidates', detail: '' };
  }
  return { what: bye ? 'bye' : back ? 'back' : 'hello', detail: '' };
}

/**
 * The STUN and TURN servers of a server's configuration. Rejects with a sentence.
 * @param {string | URL} url for example `https://example.org/ice-servers?room=R`
 * @param {string | null} token
 * @returns {Promise<RTCIceServer[]>}
 */
export async function fetchIceServers(url, token) {
  const response = await fetch(url, token ? { headers: { authorization: `Bearer ${token}` } } : {}).catch(() => {
    throw new Error('The server cannot be reached. It may be stopped, or the network is down.');
  });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
