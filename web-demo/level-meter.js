/**
 * @module
 * Shows how loud a microphone is, so that people see that it works before they join.
 */

const INTERVAL_MS = 80;
/** Speech close to a microphone is around -20 dBFS; this makes it half of the meter. */
const GAIN = 5;

export class LevelMeter {
  #meter;
  /** @type {AudioContext | null} */
  #context = null;
  #timer = 0;
  /** Listens for the first click or key. */
  #gesture = new AbortController();

  /** @param {HTMLMeterElement} meter */
  constructor(meter) {
    this.#meter = meter;
  }

  /** @param {MediaStreamTrack | null} track */
  show(track) {
    this.close();
    this.#meter.hidden = track === null;
    if (!track || !window.AudioContext) return;
    const context = new AudioContext();
    this.#context = context;
    this.#gesture = new AbortController();
    for (const type of ['pointerdown', 'keydown']) document.addEventListener(type, () => void context.resume().catch(() => undefined), { signal: this.#gesture.signal });
    const analyser = context.createAnalyser();
    analyser.fftSize = 512;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = window.setInterval(() => {
      // Some browsers start sound only after a click on the page, and when they are asked to; until then a meter at zero would be a lie.
      this.#meter.hidden = context.state !== 'running';
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      this.#meter.value = Math.min(1, Math.sqrt(power) * GAIN);
    }, INTERVAL_MS);
  }

  close() {
    clearInterval(this.#timer);
    this.#gesture.abort();
    void this.#context?.close();
    this.#context = null;
    this.#meter.hidden = true;
  }
}
