/**
 * @module
 * What a stream shows and sounds like: one picture, be it the camera, a screen or a card that says that there is none, and one sound.
 * Opens and releases devices, before going live and after; sends and shows nothing itself.
 */
import { openDevice, openScreen, openWanted } from './client/devices.js';
import { rememberedChoices } from './client/storage.js';
import { t } from './language.js';

/** @typedef {'camera' | 'screen' | 'none'} Picture */

/**
 * @typedef {object} StudioHandlers
 * @property {() => void} changed what is sent, or what there is to say about it, is another
 * @property {(sentence: string) => void} problem
 */

const CARD_EVERY_MS = 1000;

export class Studio {
  /** @type {Picture} */
  picture = 'none';
  microphoneOn = false;
  /** Chosen devices. */
  ids = rememberedChoices();
  /** Of the camera's or screen's picture, in pixels. */
  #height = 720;
  /** @type {MediaStreamTrack | null} */
  #camera = null;
  /** @type {MediaStreamTrack | null} */
  #microphone = null;
  /** @type {{video: MediaStreamTrack, audio: MediaStreamTrack | null} | null} */
  #screen = null;
  /** Microphone and screen in one. @type {{context: AudioContext, track: MediaStreamTrack} | null} */
  #mix = null;
  /** @type {MediaStreamTrack | null} */
  #card = null;
  #handlers;

  /** @param {StudioHandlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
  }

  /** The picture to send. */
  get video() {
    const track = this.picture === 'camera' ? this.#camera : this.picture === 'screen' ? this.#screen?.video : null;
    return track ?? (this.#card ??= drawCard());
  }

  /** The sound to send; null: silence. */
  get audio() {
    return this.#mix?.track ?? this.#screen?.audio ?? this.#microphone;
  }

  /** The microphone, while it is on. */
  get heard() {
    return this.microphoneOn ? this.#microphone : null;
  }

  /**
   * Opens what is wanted, with one question to the user.
   * @param {{camera: boolean, microphone: boolean}} wanted
   */
  async open(wanted) {
    const { camera, microphone, problems } = await openWanted(wanted, this.ids);
    if (camera) await this.#useCamera(camera);
    if (microphone) this.#useMicrophone(microphone);
    if (problems.length > 0) this.#handlers.problem(problems.map((problem) => t(problem)).join(' '));
    this.#handlers.changed();
  }

  async toggleMicrophone() {
    if (!this.#microphone) {
      this.#useMicrophone(await openDevice('microphone', this.ids.microphone, this.ids));
    } else {
      this.microphoneOn = !this.microphoneOn;
      this.#microphone.enabled = this.microphoneOn;
    }
    this.#handlers.changed();
  }

  /**
   * Shows another picture; what was shown before is released. A screen that nobody chose changes nothing.
   * @param {Picture} picture
   */
  async show(picture) {
    if (picture === 'camera') {
      await this.#useCamera(await openDevice('camera', this.ids.camera));
    } else if (picture === 'screen') {
      const screen = await openScreen();
      if (!screen) return;
      this.#useScreen(screen);
      await this.#resize();
    } else {
      this.picture = 'none';
    }
    this.#release();
    this.#handlers.changed();
  }

  /**
   * @param {'camera' | 'microphone'} device
   * @param {string} id
   */
  async choose(device, id) {
    this.ids = { ...this.ids, [device]: id };
    if (device === 'camera' && this.picture === 'camera') {
      // Some systems open a camera once only, so the old one goes first.
      this.#camera?.stop();
      this.picture = 'none';
      await this.show('camera').catch((error) => this.#lostDevice(error));
    } else if (device === 'microphone' && this.#microphone) {
      this.#microphone.stop();
      this.#microphone = null;
      this.microphoneOn = false;
      await this.toggleMicrophone().catch((error) => this.#lostDevice(error));
    }
  }

  /** The old device is let go already, and no other came. @param {Error} error @returns {never} */
  #lostDevice(error) {
    this.#release();
    this.#remix();
    this.#handlers.changed();
    throw error;
  }

  /** @param {number} height of the picture, in pixels */
  async setHeight(height) {
    this.#height = height;
    await this.#resize();
    this.#handlers.changed();
  }

  /** @param {MediaStreamTrack} track */
  async #useCamera(track) {
    if (this.#camera !== track) this.#camera?.stop();
    this.#camera = track;
    this.picture = 'camera';
    this.#lostWith(track, () => this.#camera === track && this.picture === 'camera', t('Your camera was unplugged or taken away.'));
    await this.#resize();
  }

  /** @param {MediaStreamTrack} track */
  #useMicrophone(track) {
    this.#microphone = track;
    this.microphoneOn = true;
    this.#remix();
    track.addEventListener('ended', () => {
      if (this.#microphone !== track) return;
      this.#microphone = null;
      this.microphoneOn = false;
      this.#remix();
      this.#handlers.problem(t('Your microphone was unplugged or taken away.'));
      this.#handlers.changed();
    });
  }

  /** @param {{video: MediaStreamTrack, audio: MediaStreamTrack | null}} screen */
  #useScreen(screen) {
    this.#screen?.video.stop();
    this.#screen?.audio?.stop();
    this.#screen = screen;
    this.picture = 'screen';
    this.#remix();
    this.#lostWith(screen.video, () => this.#screen === screen, t('You no longer share your screen.'));
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {() => boolean} isShown
   * @param {string} sentence
   */
  #lostWith(track, isShown, sentence) {
    track.addEventListener('ended', () => {
      if (!isShown()) return;
      this.#handlers.problem(sentence);
      void this.show('none');
    });
  }

  /** Lets go of what is not shown: a camera's light goes out. */
  #release() {
    if (this.picture !== 'camera') {
      this.#camera?.stop();
      this.#camera = null;
    }
    if (this.picture !== 'screen' && this.#screen) {
      const { video, audio } = this.#screen;
      this.#screen = null;
      video.stop();
      audio?.stop();
      this.#remix();
    }
  }

  /** A stream has one sound: a screen's is put together with the microphone's. */
  #remix() {
    void this.#mix?.context.close();
    this.#mix = null;
    const tracks = [this.#screen?.audio, this.#microphone].filter((track) => track instanceof MediaStreamTrack);
    if (tracks.length < 2) return;
    const context = new AudioContext();
    const destination = context.createMediaStreamDestination();
    for (const track of tracks) context.createMediaStreamSource(new MediaStream([track])).connect(destination);
    this.#mix = { context, track: destination.stream.getAudioTracks()[0] };
  }

  /** Asks the camera or screen for the size that is sent; what it cannot do stays as it is. */
  async #resize() {
    const height = this.#height;
    const size = { height: { ideal: height }, width: { ideal: (height * 16) / 9 } };
    if (this.picture !== 'none') await this.video.applyConstraints(size).catch(() => undefined);
  }
}

/** Says that there is no picture, so that viewers are not left with the last one. It is drawn again for those who come later. */
function drawCard() {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: 1280, height: 720 });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const draw = () => {
    context.fillStyle = '#141b26';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = '#c3ccd9';
    context.font = '600 44px system-ui, sans-serif';
    context.textAlign = 'center';
    context.fillText(t('The camera is off'), canvas.width / 2, canvas.height / 2);
  };
  draw();
  setInterval(draw, CARD_EVERY_MS);
  return canvas.captureStream().getVideoTracks()[0];
}
