/**
 * @module
 * What this person sends: microphone, camera, screen. Opens and releases devices and publishes them; a device that goes away is replaced by
 * another one until it is back. Shows nothing itself.
 *
 * ```js
 * const media = new LocalMedia(room, { lost: (sentence) => alert(sentence) });
 * await media.toggleMicrophone();
 * await media.choose('camera', (await listDevices('camera'))[1].deviceId);
 * ```
 */
import { deviceIdOf, listDevices, onDevicesChanged, openDevice, openScreen } from './devices.js';
import { reshape } from './sending.js';
import { restSilently } from './silent-layers.js';
import { fewerLayers } from './spatial-layers.js';
import { rememberChoices, rememberedChoices } from './storage.js';
import { LossWatch, plainWhereLossy } from './uplink-loss.js';

/** @typedef {import('./room.js').Room} Room */
/** @typedef {import('./tracks.js').LocalTrack} LocalTrack */
/** @typedef {import('./codecs.js').VideoCodec} VideoCodec */
/** @typedef {import('./devices.js').Device} Device */
/** @typedef {import('./devices.js').Processing} Processing */
/** @typedef {import('./storage.js').Choices} Choices */

/** @type {import('./sending.js').Change} */
const least = (sender, encodings) => restSilently(sender, encodings, () => reshape(sender, shape));

/** @type {import('./sending.js').Shape} */
const shape = Object.assign(/** @type {import('./sending.js').Change} */ ((...all) => [fewerLayers(...all), plainWhereLossy(...all), least(...all)].includes(true)), { least });

/**
 * @typedef {object} LocalMediaOptions
 * @property {VideoCodec} [codec]
 * @property {string} [scalabilityMode]
 * @property {Choices} [choices] default: those of last time
 * @property {() => void} [changed] called after every change
 * @property {(sentence: string) => void} [lost] called when a device went away by itself, or came back
 */

export class LocalMedia {
  /** @type {LocalTrack | null} */
  microphone = null;
  /** @type {LocalTrack | null} */
  camera = null;
  /** Picture and, where the system gives it, sound. @type {LocalTrack[]} */
  screen = [];
  /** Chosen devices, and what is done to the sound. @type {Choices} */
  choices;
  #room;
  #video;
  #changed;
  #lost;
  /** Those that others stand in for. @type {Set<Device>} */
  #missing = new Set();
  /** What is done with a device, one after the other: two at once would leave one of them on. @type {Record<Device, Promise<void>>} */
  #work = { camera: Promise.resolve(), microphone: Promise.resolve() };
  #closed = false;
  #stop;

  /**
   * @param {Room} room
   * @param {LocalMediaOptions} [options]
   */
  constructor(room, { codec, scalabilityMode, choices = rememberedChoices(), changed = () => undefined, lost = () => undefined } = {}) {
    this.#room = room;
    this.#video = { codec, scalabilityMode };
    this.#changed = changed;
    this.#lost = lost;
    this.choices = choices;
    const losses = new LossWatch(() => this.camera);
    this.#stop = [() => losses.close(), onDevicesChanged(() => void this.#welcomeBack()), room.on('localtrackupdated', ({ track }) => this.#obey(track))];
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
   * Publishes what was opened before joining, unless something else was chosen meanwhile.
   * @param {{camera: MediaStreamTrack | null, microphone: MediaStreamTrack | null}} tracks
   */
  async publish({ camera, microphone }) {
    const opened = /** @type {const} */ ([['microphone', microphone], ['camera', camera]]);
    await Promise.all(opened.map(([device, track]) => track && this.#inTurn(device, async () => (this[device] || this.#closed ? track.stop() : this.#publish(device, track)))));
  }

  toggleMicrophone() {
    return this.#inTurn('microphone', async () => {
      if (this.microphone) await this.#room.mute(this.microphone, !this.microphone.muted);
      else await this.#start('microphone');
    });
  }

  /** Off releases the camera, so that its light goes out. */
  toggleCamera() {
    return this.#inTurn('camera', async () => {
      const { camera } = this;
      if (!camera) {
        await this.#start('camera');
      } else if (camera.muted) {
        const track = await this.#open('camera');
        if (!track) return;
        this.#watch(track, 'camera');
        await this.#room.replaceTrack(camera, track);
        await this.#room.unmute(camera);
      } else {
        camera.mediaStreamTrack.stop();
        const muted = this.#room.mute(camera);
        await this.#room.replaceTrack(camera, null);
        await muted;
      }
    });
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
    const publishing = [this.#room.publish(video, { source: 'screen_share', ...this.#video })];
    if (audio) publishing.push(this.#room.publish(audio, { source: 'screen_share_audio' }));
    const results = await Promise.allSettled(publishing);
    this.screen = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
    const refused = results.find((result) => result.status === 'rejected');
    // One without the other would be a screen that stands still with everybody.
    if (refused || this.#closed || video.readyState === 'ended') {
      video.stop();
      audio?.stop();
      await this.#stopScreen();
    }
    if (refused) throw refused.reason;
    this.#changed();
  }

  /**
   * Uses another device from now on, and the next time.
   * @param {Device} device
   * @param {string} id
   */
  async choose(device, id) {
    this.choices = { ...this.choices, [device]: id };
    rememberChoices({ [device]: id });
    this.#missing.delete(device);
    await this.#reopen(device);
  }

  /**
   * Changes what is done to the microphone's sound, from now on and the next time.
   * @param {Partial<Processing>} changes
   */
  async process(changes) {
    this.choices = { ...this.choices, ...changes };
    rememberChoices(changes);
    // Browsers leave a running microphone as it is.
    await this.#reopen('microphone');
  }

  /** @param {Device} device */
  #reopen(device) {
    return this.#inTurn(device, () => this.#exchange(device));
  }

  /** @param {Device} device */
  async #exchange(device) {
    const local = this[device];
    if (!local || (device === 'camera' && local.muted)) return;
    const before = local.mediaStreamTrack;
    // Some systems open a camera once only, so the old one goes first.
    before.stop();
    try {
      const track = await this.#open(device);
      if (!track) return;
      this.#watch(track, device);
      await this.#room.replaceTrack(local, track);
    } catch (error) {
      await this.#giveUp(device, local);
      throw error;
    }
  }

  /** Ids of the devices in use, for the lists. */
  inUse() {
    return {
      camera: this.cameraOn ? deviceIdOf(this.camera?.mediaStreamTrack ?? null) : this.choices.camera,
      microphone: deviceIdOf(this.microphone?.mediaStreamTrack ?? null) || this.choices.microphone,
    };
  }

  close() {
    this.#closed = true;
    for (const stop of this.#stop) stop();
    for (const local of [this.microphone, this.camera, ...this.screen]) local?.mediaStreamTrack.stop();
  }

  /** Somebody who manages the room may mute a track of ours, or end it: then its device is let go. @param {LocalTrack} local */
  #obey(local) {
    if (!this.#room.localTracks.has(local)) {
      // The sound of a screen ends with its picture.
      if (local.source === 'screen_share' && this.screen.includes(local)) void this.#stopScreen();
      if (local === this.microphone || local === this.camera || this.screen.includes(local)) local.mediaStreamTrack.stop();
      if (local === this.microphone) this.microphone = null;
      if (local === this.camera) this.camera = null;
      this.screen = this.screen.filter((one) => one !== local);
    }
    this.#changed();
  }

  /**
   * @param {Device} device
   * @param {() => Promise<void>} work
   */
  #inTurn(device, work) {
    const done = this.#work[device].then(work).finally(() => this.#changed());
    this.#work[device] = done.catch(() => undefined);
    return done;
  }

  /** Null: we have left meanwhile. @param {Device} device */
  async #open(device) {
    if (this.#closed) return null;
    const track = await openDevice(device, this.choices[device], this.choices);
    if (!this.#closed) return track;
    track.stop();
    return null;
  }

  /** @param {Device} device */
  async #start(device) {
    const track = await this.#open(device);
    if (track) await this.#publish(device, track);
  }

  async #stopScreen() {
    const screen = this.screen.splice(0);
    for (const local of screen) local.mediaStreamTrack.stop();
    await Promise.all(screen.map((local) => this.#room.unpublish(local)));
    this.#changed();
  }

  /**
   * @param {Device} device
   * @param {MediaStreamTrack} track
   */
  async #publish(device, track) {
    this.#watch(track, device);
    try {
      this[device] = await this.#room.publish(track, { source: device, ...this.#video });
      this[device].options.fewerLayers = shape;
    } catch (error) {
      track.stop();
      throw error;
    }
    if (this.#closed) track.stop();
  }

  /**
   * A device that is unplugged ends its track by itself.
   * @param {MediaStreamTrack} track
   * @param {'camera' | 'microphone'} device
   */
  #watch(track, device) {
    track.addEventListener('ended', () => {
      const isGone = () => this[device] !== null && this[device].mediaStreamTrack === track;
      if (isGone()) void this.#inTurn(device, async () => (isGone() ? this.#replace(device, /** @type {LocalTrack} */ (this[device])) : undefined));
    });
  }

  /**
   * Another device stands in for one that is gone, if there is one.
   * @param {Device} device
   * @param {LocalTrack} local
   */
  async #replace(device, local) {
    try {
      const track = await this.#open(device);
      if (!track) return;
      this.#watch(track, device);
      await this.#room.replaceTrack(local, track);
      this.#missing.add(device);
      const { label } = track;
      this.#lost(label ? `Your ${device} was unplugged or taken away. “${label}” is used now.` : `Your ${device} was unplugged or taken away. Another one is used now.`);
    } catch {
      await this.#giveUp(device, local).catch(() => undefined);
      this.#lost(`Your ${device} was unplugged or taken away.`);
    }
  }

  /** A device may have been plugged in again. */
  async #welcomeBack() {
    for (const device of this.#missing) {
      const present = await listDevices(device);
      if (!this.#missing.has(device) || !present.some(({ deviceId }) => deviceId === this.choices[device])) continue;
      this.#missing.delete(device);
      await this.#reopen(device).then(
        () => this.#lost(`Your ${device} is back.`),
        (error) => this.#lost(error.message),
      );
    }
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
