/**
 * @module
 * What this person sends: microphone, camera, screen. Opens and releases devices and publishes them; shows nothing itself.
 */
import { deviceIdOf, openDevice, openScreen } from './devices.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/index.js').LocalTrack} LocalTrack */
/** @typedef {import('./client/codecs.js').VideoCodec} VideoCodec */

export class LocalMedia {
  /** @type {LocalTrack | null} */
  microphone = null;
  /** @type {LocalTrack | null} */
  camera = null;
  /** Picture and, where the system gives it, sound. @type {LocalTrack[]} */
  screen = [];
  /** Chosen devices. @type {{camera: string, microphone: string}} */
  ids;
  #room;
  #video;
  #changed;
  #lost;

  /**
   * @param {Room} room
   * @param {{codec: VideoCodec, scalabilityMode?: string, ids: {camera: string, microphone: string}, changed: () => void, lost: (sentence: string) => void}} options
   *   `changed` after every change; `lost` when a device went away by itself
   */
  constructor(room, { codec, scalabilityMode, ids, changed, lost }) {
    this.#room = room;
    this.#video = { codec, scalabilityMode };
    this.#changed = changed;
    this.#lost = lost;
    this.ids = ids;
  }

  get microphoneOn() {
    return this.microphone !== null && !this.microphone.muted;
  }

  get cameraOn() {
    return this.camera !== null && !this.camera.muted;
  }

  get screenOn() {
    return this.screen.length > 0;
  }

  /**
   * Publishes what was opened before joining.
   * @param {{camera: MediaStreamTrack | null, microphone: MediaStreamTrack | null}} tracks
   */
  async publish({ camera, microphone }) {
    await Promise.all([microphone && this.#publishMicrophone(microphone), camera && this.#publishCamera(camera)]);
  }

  async toggleMicrophone() {
    if (!this.microphone) await this.#publishMicrophone(await openDevice('microphone', this.ids.microphone));
    else await this.#room.mute(this.microphone, !this.microphone.muted);
    this.#changed();
  }

  /** Off releases the camera, so that its light goes out. */
  async toggleCamera() {
    const { camera } = this;
    if (!camera) {
      await this.#publishCamera(await openDevice('camera', this.ids.camera));
    } else if (camera.muted) {
      const track = await openDevice('camera', this.ids.camera);
      this.#watch(track, 'camera');
      await this.#room.replaceTrack(camera, track);
      await this.#room.unmute(camera);
    } else {
      camera.mediaStreamTrack.stop();
      const muted = this.#room.mute(camera);
      await this.#room.replaceTrack(camera, null);
      await muted;
    }
    this.#changed();
  }

  async toggleScreen() {
    if (this.screenOn) {
      await this.#stopScreen();
      return;
    }
    const opened = await openScreen();
    if (!opened) return;
    const { video, audio } = opened;
    video.addEventListener('ended', () => void this.#stopScreen());
    try {
      const publishing = [this.#room.publish(video, { source: 'screen_share', ...this.#video })];
      if (audio) publishing.push(this.#room.publish(audio, { source: 'screen_share_audio' }));
      this.screen = await Promise.all(publishing);
    } catch (error) {
      video.stop();
      audio?.stop();
      throw error;
    }
    this.#changed();
  }

  /**
   * @param {'camera' | 'microphone'} device
   * @param {string} id
   */
  async choose(device, id) {
    this.ids = { ...this.ids, [device]: id };
    const local = this[device];
    if (!local || (device === 'camera' && local.muted)) return;
    const before = local.mediaStreamTrack;
    // Some systems open a camera once only, so the old one goes first.
    before.stop();
    try {
      const track = await openDevice(device, id);
      this.#watch(track, device);
      await this.#room.replaceTrack(local, track);
    } catch (error) {
      await this.#giveUp(device, local);
      throw error;
    } finally {
      this.#changed();
    }
  }

  /** Ids of the devices in use, for the lists. */
  inUse() {
    return {
      camera: this.cameraOn ? deviceIdOf(this.camera?.mediaStreamTrack ?? null) : this.ids.camera,
      microphone: deviceIdOf(this.microphone?.mediaStreamTrack ?? null) || this.ids.microphone,
    };
  }

  close() {
    for (const local of [this.microphone, this.camera, ...this.screen]) local?.mediaStreamTrack.stop();
  }

  async #stopScreen() {
    const screen = this.screen.splice(0);
    for (const local of screen) local.mediaStreamTrack.stop();
    await Promise.all(screen.map((local) => this.#room.unpublish(local)));
    this.#changed();
  }

  /** @param {MediaStreamTrack} track */
  async #publishMicrophone(track) {
    this.#watch(track, 'microphone');
    this.microphone = await this.#publishOrStop(track, 'microphone');
    this.#changed();
  }

  /** @param {MediaStreamTrack} track */
  async #publishCamera(track) {
    this.#watch(track, 'camera');
    this.camera = await this.#publishOrStop(track, 'camera');
    this.#changed();
  }

  /**
   * @param {MediaStreamTrack} track
   * @param {'camera' | 'microphone'} source
   */
  async #publishOrStop(track, source) {
    try {
      return await this.#room.publish(track, { source, ...this.#video });
    } catch (error) {
      track.stop();
      throw error;
    }
  }

  /**
   * A device that is unplugged ends its track by itself.
   * @param {MediaStreamTrack} track
   * @param {'camera' | 'microphone'} device
   */
  #watch(track, device) {
    track.addEventListener('ended', () => {
      const local = this[device];
      if (!local || local.mediaStreamTrack !== track) return;
      void this.#giveUp(device, local).catch(() => undefined);
      this.#lost(`Your ${device} was unplugged or taken away.`);
      this.#changed();
    });
  }

  /**
   * The device is gone: off, until the user turns it on and another one is opened.
   * @param {'camera' | 'microphone'} device
   * @param {LocalTrack} local
   */
  async #giveUp(device, local) {
    if (device === 'camera') {
      await this.#room.mute(local);
      return;
    }
    this.microphone = null;
    await this.#room.unpublish(local);
  }
}
