/**
 * @module
 * Picture-in-picture: a window of its own, over all others, with the camera of whoever speaks.
 */
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/index.js').RemoteTrack} RemoteTrack */

const METADATA_MS_MAX = 4000;

export class FloatingSpeaker {
  #room;
  #changed;
  #video = Object.assign(document.createElement('video'), { className: 'floating-speaker', muted: true, autoplay: true, playsInline: true });
  /** The participant shown, or empty. */
  #shown = '';
  /** Participants, the loudest first: told when it changes, so it is kept for when the window opens. @type {string[]} */
  #speaking = [];
  #detach = () => {};
  #stop;

  /** @param {Room} room @param {() => void} changed the window opened or closed */
  constructor(room, changed) {
    this.#room = room;
    this.#changed = changed;
    this.#video.setAttribute('aria-hidden', 'true');
    this.#video.tabIndex = -1;
    document.body.append(this.#video);
    for (const type of ['enterpictureinpicture', 'leavepictureinpicture']) this.#video.addEventListener(type, () => this.#turned());
    const again = () => this.#follow();
    this.#stop = [
      room.on('activespeakers', ({ speakers }) => {
        this.#speaking = speakers.map(({ participant }) => participant);
        this.#follow();
      }),
      room.on('tracksubscribed', again),
      room.on('trackunsubscribed', again),
      room.on('trackmuted', again),
      room.on('participantleft', again),
    ];
  }

  /** Some browsers open such windows by a button of their own only. */
  static get supported() {
    return document.pictureInPictureEnabled === true;
  }

  get open() {
    return document.pictureInPictureElement === this.#video;
  }

  /** Must follow a click. Rejects with an Error whose message is a plain sentence. */
  async toggle() {
    if (this.open) return document.exitPictureInPicture();
    this.#show(this.#chosen());
    if (!this.#shown) throw new Error(t('Nobody else has a camera on.'));
    if (this.#video.readyState === 0) {
      const [loaded, late] = [once(this.#video, 'loadedmetadata'), AbortSignal.timeout(METADATA_MS_MAX)];
      await Promise.race([loaded, once(late, 'abort')]);
    }
    try {
      await this.#video.requestPictureInPicture();
    } catch {
      this.#release();
      throw new Error(t('The browser did not open the small window. Try again in a moment.'));
    }
    return undefined;
  }

  close() {
    for (const stop of this.#stop) stop();
    if (this.open) void document.exitPictureInPicture().catch(() => undefined);
    this.#release();
    this.#video.remove();
  }

  #turned() {
    if (!this.open) this.#release();
    this.#changed();
  }

  #release() {
    this.#detach();
    this.#detach = () => {};
    this.#shown = '';
    this.#video.srcObject = null;
  }

  /** Cameras that are on, of the others. */
  #candidates() {
    const cameras = [...this.#room.participants.values()].flatMap(({ tracks }) => [...tracks.values()].filter(({ kind, source }) => kind === 'video' && source === 'camera'));
    return cameras.filter(({ muted, unavailable }) => !muted && unavailable !== 'codec' && unavailable !== 'key');
  }

  /** Whoever is shown stays while speaking, and until somebody else does. */
  #chosen() {
    const cameras = this.#candidates();
    const cameraOf = /** @param {string} id */ (id) => cameras.find(({ participant }) => participant.id === id);
    const current = cameraOf(this.#shown);
    const speaking = this.#speaking.flatMap((id) => cameraOf(id) ?? []);
    return current && speaking.includes(current) ? current : (speaking[0] ?? current ?? cameras[0]);
  }

  #follow() {
    if (this.open) this.#show(this.#chosen());
  }

  /** @param {RemoteTrack | undefined} track */
  #show(track) {
    if (!track) return this.#release();
    if (this.#shown !== track.participant.id) {
      this.#detach();
      this.#shown = track.participant.id;
      this.#detach = this.#room.attach(track.id, this.#video);
    }
    if (track.stream && this.#video.srcObject !== track.stream) {
      this.#video.srcObject = track.stream;
      void this.#video.play().catch(() => undefined);
    }
  }
}

/** @param {EventTarget} target @param {string} type */
function once(target, type) {
  return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
}
