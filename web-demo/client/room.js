/**
 * @module
 * A room as one participant sees it: who is there, what they publish, what of it arrives here. Keeps itself alive: it goes on where a
 * lost socket ended, while sound and pictures stay; where that cannot be, it joins anew with the same identity and publishes everything again.
 */
import { Chat } from './chat.js';
import { Data } from './data.js';
import { Secrecy } from './e2ee/secrecy.js';
import { Emitter } from './events.js';
import { Door } from './joining.js';
import { Peer } from './peer.js';
import { MediaWatch } from './media-watch.js';
import { People } from './people.js';
import { FINAL_REASONS, Reconnection, describeLoss, goOn, isFinal } from './reconnect.js';
import { Roster } from './roster.js';
import { LimitReporter, obey, sendLayers } from './sending.js';
import { Signaling, SwitchyardError, isLoss, unlessLost } from './signaling.js';
import { StatsReader } from './stats.js';
import { LocalTrack } from './tracks.js';
import { Viewport } from './viewport.js';

/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */
/** @typedef {import('./protocol.js').Welcome} Welcome */
/** @typedef {import('./protocol.js').Source} Source */
/** @typedef {import('./events.js').RoomState} RoomState */
/** @typedef {import('./options.js').ConnectOptions} ConnectOptions */
/** @typedef {import('./tracks.js').PublishOptions} PublishOptions */

/** @extends {Emitter<import('./events.js').RoomEvents>} */
export class Room extends Emitter {
  /** Of this participant, given by the server. */
  participantId = '';
  identity = '';
  canPublish = true;
  canSubscribe = true;
  canPublishData = true;
  /** What may be published; empty: every source. @type {Source[]} */
  canPublishSources = [];
  /** Of the room, the application's. */
  metadata = '';
  /** @type {Set<LocalTrack>} */
  localTracks = new Set();
  /**
   * @param {string} type
   * @param {object} fields
   */
  #request = async (type, fields) => {
    if (!this.#signaling) throw new SwitchyardError('closed', 'There is no connection to the server.');
    return this.#signaling.request(type, fields);
  };
  /** What is said. */
  chat = new Chat(this.#request, (type, fields) => this.#signaling?.send(type, fields));
  /** How everybody is here, and what moderators do. */
  people = new People(this.#request, (name) => (this.name = name));
  #data = new Data(this.#request, () => this.#peer?.data, (type, detail) => this.emit(type, detail));
  publishData = this.#data.publish;
  subscribeTopics = this.#data.subscribe;
  /** @type {RoomState} */
  state = 'connecting';
  #url;
  #options;
  /** @type {Signaling | null} */
  #signaling = null;
  /** @type {Peer | null} */
  #peer = null;
  #roster = new Roster(
    (type, detail) => {
      if (type === 'trackpublished') this.#viewport?.refresh();
      if (type === 'trackunavailable') this.#secrecy.noteUnavailable(/** @type {import('./events.js').RoomEvents['trackunavailable']} */ (detail));
      this.emit(type, detail);
    },
    (mid) => this.#peer?.slot(mid),
    (track) => this.#secrecy.obstacle(track),
  );
  #door;
  #secrecy;
  #stats = new StatsReader();
  #viewport = /** @type {Viewport | null} */ (null);
  #limits = /** @type {LimitReporter | null} */ (null);
  #media = /** @type {MediaWatch | null} */ (null);
  #reconnection = /** @type {Reconnection | null} */ (null);
  /** Joins in a row that never got media through. */
  #mediaFailures = 0;
  /** @type {{reason: string, message: string} | null} */
  #farewell = null;

  /**
   * @param {string | URL} url
   * @param {ConnectOptions} options
   */
  constructor(url, options) {
    super();
    this.#url = url;
    this.#options = options;
    this.name = options.name;
    this.roomName = options.room;
    this.#door = new Door(options.waiting);
    this.identity = options.identity ?? '';
    this.encrypted = options.encryption !== undefined;
    this.#secrecy = new Secrecy(options.encryption, this.#roster, (track, wanted) => (wanted ? this.subscribe(track) : this.unsubscribe(track)));
  }

  /** The peer connection in use, for statistics and tests. */
  get peerConnection() {
    return this.#peer?.connection ?? null;
  }

  /** The others, by their id. */
  get participants() {
    return this.#roster.participants;
  }

  /** Joins. Called by `connect`, and again after a loss. */
  async join() {
    const handlers = {
      onNegotiated: () => this.#roster.applyBindings(),
      onState: (/** @type {RTCPeerConnectionState} */ state) => this.#handleMediaState(peer, state),
      onReadable: this.#roster.setReadable.bind(this.#roster),
      onError: (/** @type {Error} */ error) => this.#reportNegotiationError(error),
      onData: (/** @type {import('./data.js').Received} */ received) => this.emit('data', received),
    };
    const peer = new Peer(handlers, this.#options.encryption);
    /** @type {Signaling | null} */
    let signaling = null;
    try {
      signaling = await Signaling.open(this.#url, { onMessage: (message) => this.#handleMessage(message), onClose: () => this.#handleLoss() }, this.state === 'reconnecting');
      if (this.state === 'closed') throw new SwitchyardError('aborted', 'You left.');
      this.#signaling = signaling;
      const welcome = await this.#sendJoin(signaling);
      this.#enter(welcome, signaling, peer);
    } catch (error) {
      peer.close();
      signaling?.close();
      if (this.#signaling === signaling) this.#signaling = null;
      throw error;
    }
  }

  /**
   * Publishes a track. Resolves when the server has accepted it.
   * @param {MediaStreamTrack} mediaStreamTrack stays yours: the room never stops it
   * @param {PublishOptions} options
   * @returns {Promise<LocalTrack>}
   */
  async publish(mediaStreamTrack, { source, name = '', simulcast = source === 'camera', codec = 'vp8', scalabilityMode, maxBitrate, dtx = source === 'microphone', muted = false }) {
    if (this.state === 'closed') throw new SwitchyardError('closed', 'You have left the room.');
    const local = new LocalTrack(mediaStreamTrack, source, name, { simulcast, codec, scalabilityMode, maxBitrate, dtx });
    local.muted = muted;
    mediaStreamTrack.enabled = !muted;
    this.localTracks.add(local);
    if (!this.#signaling) return local;
    try {
      await this.#publishNow(local);
    } catch (error) {
      // A loss in the middle is not a refusal: the next join publishes it again.
      if (!isLoss(error)) {
        this.localTracks.delete(local);
        throw error;
      }
    }
    return local;
  }

  /** @param {LocalTrack} local */
  async unpublish(local) {
    if (!this.localTracks.delete(local)) return;
    const { id } = local;
    local.id = '';
    local.watchedLayers = null;
    const stopped = this.#peer?.unpublish(local);
    if (id && this.#signaling) await this.#request('unpublish', { track: id }).catch(unlessLost);
    await stopped;
    this.emit('localtrackupdated', { track: local });
  }

  /**
   * Sends another track in place of this one, for example of another camera. Null sends nothing (and frees the camera).
   * @param {LocalTrack} local
   * @param {MediaStreamTrack | null} mediaStreamTrack
   */
  async replaceTrack(local, mediaStreamTrack) {
    if (mediaStreamTrack) {
      mediaStreamTrack.enabled = !local.muted;
      local.mediaStreamTrack = mediaStreamTrack;
    }
    await local.transceiver?.sender.replaceTrack(mediaStreamTrack);
    this.emit('localtrackupdated', { track: local });
  }

  /**
   * @param {LocalTrack} local
   * @param {boolean} [muted]
   */
  async mute(local, muted = true) {
    local.muted = muted;
    local.mediaStreamTrack.enabled = !muted;
    this.emit('localtrackupdated', { track: local });
    if (local.id && this.#signaling) await this.#request('mute', { track: local.id, muted }).catch(unlessLost);
  }

  /** @param {LocalTrack} local */
  unmute(local) {
    return this.mute(local, false);
  }

  /**
   * Says that an element of the page shows a track. As long as it does, the server sends what the element has use for, and nothing
   * while it cannot be seen. Tracks that were never attached are wanted in full.
   * @param {string} track
   * @param {Element} element the picture, or what frames it; it may be attached to one track at a time, and a track to several elements
   * @param {{priority?: import('./protocol.js').Priority, fps?: number}} [options] `high`: pinned; `fps`: frames per second of use, 1 to 255
   * @returns {() => void} the element does not show it any more
   */
  attach(track, element, { priority = 'normal', fps } = {}) {
    if (this.#options.adaptiveStream === false || this.state === 'closed') return () => undefined;
    this.#viewport ??= new Viewport(
      (tracks) => void this.#request('track_settings', { tracks }).catch(() => undefined),
      (id) => this.#signaling !== null && this.#roster.track(id) !== undefined,
    );
    return this.#viewport.watch(track, element, priority, fps);
  }

  /**
   * Brings a newer token: what it allows holds from now on, and a later reconnect uses it.
   * @param {string} token
   */
  async renew(token) {
    this.#options = { ...this.#options, token };
    if (this.#signaling) await this.#request('renew', { token }).catch(unlessLost);
  }

  /** @param {string} track */
  subscribe = (track) => this.#request('subscribe', { track });
  /** @param {string} track */
  unsubscribe = (track) => this.#request('unsubscribe', { track });

  /**
   * Asks for a simulcast layer of a track.
   * @param {string} track
   * @param {string | null} rid null: the best that flows
   * @param {number | null} [temporal] null: all
   */
  async setLayer(track, rid, temporal = null) {
    await this.#request('set_layer', { track, rid, temporal });
  }

  /**
   * What arrives or leaves of this track right now; null while it is not flowing.
   * @param {string} id of a local or remote track
   */
  async getStats(id) {
    const local = [...this.localTracks].find((track) => track.id === id);
    const transceiver = local?.transceiver ?? this.#roster.track(id)?.transceiver;
    if (!transceiver) return null;
    return this.#stats.read(`${id} ${transceiver.mid}`, transceiver, local ? 'sending' : 'receiving');
  }

  /** While reconnecting: does not wait for the next attempt. */
  reconnectNow() {
    this.#reconnection?.now();
  }

  /** Leaves the room. */
  close() {
    if (this.state === 'closed') return;
    this.#signaling?.send('leave');
    this.#finish('left', 'You left the room.');
  }

  /** @param {Signaling} signaling */
  #sendJoin(signaling) {
    performance.mark('sy-join');
    return this.#door.enter(signaling, { ...this.#options, name: this.name }, this.identity);
  }

  /**
   * @param {Welcome} welcome
   * @param {Signaling} signaling
   * @param {Peer} peer
   */
  #enter(welcome, signaling, peer) {
    this.#dropPeer();
    this.#peer = peer;
    this.#farewell = null;
    this.#media = new MediaWatch(
      peer,
      () => this.state === 'connected',
      () => this.#handleDeadMedia(),
    );
    this.participantId = welcome.participant;
    this.identity = welcome.identity;
    this.metadata = welcome.metadata ?? '';
    this.#setPermissions(welcome);
    this.chat.enter();
    this.people.enter(welcome);
    this.#stats = new StatsReader();
    this.#roster.replace(welcome.participants);
    peer.start(signaling, welcome.ice_servers, welcome.media_sections);
    this.#setState('connected', '');
    this.#viewport?.reset();
    this.#data.enter();
    this.#limits = new LimitReporter(
      () => this.localTracks,
      (id) => this.getStats(id),
      (track, reason) => signaling.send('track_limited', { track, reason }),
    );
    for (const local of this.localTracks) {
      this.#publishNow(local).catch((error) => {
        if (this.#peer !== peer) return;
        // What we may not send any more is not left to look as if it were.
        if (error.code === 'not_allowed' && this.localTracks.delete(local)) this.emit('localtrackupdated', { track: local });
        this.emit('error', { code: error.code ?? 'unknown', message: error.message });
      });
    }
  }

  /** @param {LocalTrack} local */
  async #publishNow(local) {
    const peer = /** @type {Peer} */ (this.#peer);
    const { muted } = local;
    const { track } = await peer.publish(local);
    if (!this.localTracks.has(local)) {
      await this.#request('unpublish', { track }).catch(() => undefined);
      return;
    }
    local.id = track;
    this.emit('localtrackupdated', { track: local });
    if (local.muted !== muted) await this.#request('mute', { track, muted: local.muted });
  }

  /** @param {ServerMessage} message */
  #handleMessage(message) {
    if (this.#door.handle(message) || this.chat.handle(message) || this.people.handle(message, this.participantId) || this.#data.handle(message)) return undefined;
    switch (message.type) {
      case 'media_sections':
        return this.#peer?.requireSections(message);
      case 'active_speakers':
        return this.emit('activespeakers', { speakers: message.speakers });
      case 'published_layers':
        return sendLayers(this.localTracks, message);
      case 'permissions':
        this.#setPermissions(message);
        return this.emit('permissionschanged', message);
      case 'room_updated':
        this.metadata = message.metadata ?? '';
        return this.emit('roomupdated', message);
      case 'closing':
        return this.emit('closing', { seconds: message.seconds, message: message.message });
      case 'track_unpublished':
      case 'track_muted':
        return this.#handleTrackNews(message);
      case 'error':
        return this.emit('error', { code: message.code, message: message.message });
      case 'closed':
        this.#farewell = message;
        return FINAL_REASONS.includes(message.reason) ? this.#finish(message.reason, message.message) : undefined;
      default:
        return this.#roster.handle(message);
    }
  }

  /** @param {import('./protocol.js').Permissions} permissions */
  #setPermissions(permissions) {
    this.canPublish = permissions.can_publish;
    this.canSubscribe = permissions.can_subscribe;
    this.canPublishData = permissions.can_publish_data;
    this.canPublishSources = permissions.can_publish_sources ?? [];
  }

  /** @param {import('./protocol.js').TrackUnpublished | import('./protocol.js').TrackMuted} message */
  #handleTrackNews(message) {
    const local = obey(this.localTracks, message);
    if (!local) return this.#roster.handle(message);
    if (!this.localTracks.has(local)) void this.#peer?.unpublish(local);
    return this.emit('localtrackupdated', { track: local });
  }

  /** @param {Error} error */
  #reportNegotiationError(error) {
    if (this.state !== 'connected') return;
    const { message } = error;
    const code = error instanceof SwitchyardError ? error.code : 'negotiation';
    if (code === 'closed') return;
    this.emit('error', { code, message: `Sending or receiving could not be changed: ${message}` });
    if (code === 'timeout') this.#restart('The server stopped answering. Reconnecting…');
  }

  /**
   * @param {Peer} peer
   * @param {RTCPeerConnectionState} state
   */
  #handleMediaState(peer, state) {
    if (peer !== this.#peer || this.state === 'closed') return;
    if (state === 'connected') this.#mediaFailures = 0;
    // What keeps media away may have cut the WebSocket too, and that would be noticed much later.
    if (state === 'disconnected') this.#signaling?.probe();
    this.#media?.look();
  }

  #handleDeadMedia() {
    this.#mediaFailures += 1;
    if (this.#mediaFailures >= 3) {
      this.#finish('connection_failed', 'Sound and picture cannot reach the server. A firewall may block UDP.');
      return;
    }
    this.#restart('Sound and picture were interrupted. Reconnecting…');
  }

  /** The socket is gone. Media may live, and then nothing but the socket is replaced. */
  #handleLoss() {
    this.#door.fail('closed', 'The connection to the server was lost.');
    if (this.state !== 'connected') return;
    const resumable = this.#signaling?.resumable ?? false;
    const sentence = describeLoss(this.#farewell?.reason, resumable && this.#media?.alive);
    if (resumable) this.#reconnect(sentence);
    else this.#restart(sentence);
  }

  /** Leaves everything as it is on screen, and joins again in its place. @param {string} message */
  #restart(message) {
    this.#signaling?.close();
    this.#signaling = null;
    this.#reconnect(message);
  }

  /** @param {string} message */
  #reconnect(message) {
    this.#setState('reconnecting', message);
    const reconnection = new Reconnection(
      () => this.#comeBack(),
      (news) => this.emit('reconnecting', { ...news, message }),
    );
    this.#reconnection?.stop();
    this.#reconnection = reconnection;
    void reconnection.run().then((over) => {
      if (this.#reconnection !== reconnection) return;
      this.#reconnection = null;
      if (!over) this.#finish('unreachable', 'The server could not be reached for two minutes.');
    });
  }

  /** One attempt. Returns whether it is over, one way or the other. */
  async #comeBack() {
    try {
      const resumed = this.#signaling !== null && (await goOn(this.#signaling));
      if (!resumed) await this.join();
      this.#setState('connected', '');
      this.#limits?.repeat();
      this.#media?.look();
      this.emit('reconnected', { resumed });
    } catch (error) {
      if (this.state !== 'reconnecting') return true;
      if (!isFinal(error)) return false;
      const { code, message } = /** @type {SwitchyardError} */ (error);
      this.#finish(code, message);
    }
    return true;
  }

  /**
   * @param {string} reason
   * @param {string} message
   */
  #finish(reason, message) {
    if (this.state === 'closed') return;
    this.#setState('closed', message);
    this.#reconnection?.stop();
    this.#signaling?.close();
    this.#signaling = null;
    this.#dropPeer();
    this.#viewport?.close();
    this.#secrecy.close();
    this.emit('closed', { reason, message });
  }

  #dropPeer() {
    this.#media?.close();
    this.#media = null;
    this.#limits?.close();
    this.#limits = null;
    this.#peer?.close();
    this.#peer = null;
    for (const local of this.localTracks) Object.assign(local, { id: '', transceiver: null, watchedLayers: null });
  }

  /**
   * @param {RoomState} state
   * @param {string} message
   */
  #setState(state, message) {
    if (this.state === state) return;
    this.state = state;
    this.emit('statechange', { state, message });
  }
}
