/**
 * The devices of a test participant, and the eyes and ears that recognise them at the other end. A picture says whose it
 * is by its colour and by 16 black or white bars (who, which device, frame counter); a microphone by its tone.
 */

/** Where the bars are, and what they mean, for those who draw and those who read. */
export const PICTURE = {
  /** Share of the height, from the bottom, that the bars take. */
  barHeight: 0.2,
  bits: 16,
  counterBits: 10,
  colours: [
    [200, 30, 30],
    [30, 170, 30],
    [40, 40, 210],
    [200, 190, 30],
    [180, 40, 180],
    [30, 180, 190],
    [230, 120, 20],
    [120, 120, 120],
  ],
  devices: ['camera', 'camera2', 'screen'],
};

/** Hertz of participant `index`: no tone is a harmonic of another. */
export const toneOf = (index) => 430 + 170 * index;

/**
 * Runs in the page before any of its scripts: getUserMedia, getDisplayMedia and enumerateDevices give this participant's
 * synthetic devices. `noise` makes pictures that no codec can make small, for measuring bitrates; nobody can read those. A share of it
 * (0.2) takes as much as a lively camera, and can be read.
 */
export function installDevices({ index, tone, width, height, fps, picture, noise = false }) {
  const grain = noise ? noisePicture() : null;
  // What is to stay readable is coarse: fine grain is gone in the smaller layers, and a quantizer swallows it all or nothing.
  const grainSize = noise === true ? 1 : 8;

  /** Twice as wide and high as the picture: drawn anywhere, it leaves no two frames alike. */
  function noisePicture() {
    const canvas = new OffscreenCanvas(2 * width, 2 * height);
    const context = canvas.getContext('2d');
    const image = context.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < image.data.length; i += 4) image.data.set([64, 128, 192, 255].map((value) => value * Math.random()), i);
    for (let i = 3; i < image.data.length; i += 4) image.data[i] = 255;
    context.putImageData(image, 0, 0);
    return canvas;
  }

  /** A part of the grain, anywhere in it. */
  function drawGrain(context) {
    const [across, down] = [width / grainSize, height / grainSize];
    const [x, y] = [Math.random() * (2 * width - across), Math.random() * (2 * height - down)];
    context.globalAlpha = Number(noise);
    context.drawImage(grain, x, y, across, down, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  function videoTrack(device) {
    const canvas = document.createElement('canvas');
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext('2d', { alpha: false });
    const deviceIndex = picture.devices.indexOf(device);
    const colour = picture.colours[(index + 3 * deviceIndex) % picture.colours.length];
    let counter = 0;
    const draw = () => {
      counter = (counter + 1) % (1 << picture.counterBits);
      const top = height * (1 - picture.barHeight);
      context.fillStyle = `rgb(${colour.join(',')})`;
      context.fillRect(0, 0, width, top);
      if (grain) drawGrain(context);
      const value = (index << (picture.counterBits + 2)) | (deviceIndex << picture.counterBits) | counter;
      for (let bit = 0; bit < picture.bits; bit++) {
        context.fillStyle = (value >> (picture.bits - 1 - bit)) & 1 ? '#fff' : '#000';
        context.fillRect((bit * width) / picture.bits, top, width / picture.bits + 1, height - top);
      }
    };
    draw();
    const timer = setInterval(draw, 1000 / fps);
    const [track] = canvas.captureStream(fps).getVideoTracks();
    const stop = track.stop.bind(track);
    track.stop = () => {
      clearInterval(timer);
      stop();
    };
    const settings = track.getSettings.bind(track);
    track.getSettings = () => ({ ...settings(), width, height, frameRate: fps, deviceId: device });
    return track;
  }

  let audio = null;
  function audioTrack() {
    audio ??= new AudioContext();
    void audio.resume();
    const oscillator = new OscillatorNode(audio, { frequency: tone });
    const gain = new GainNode(audio, { gain: 0.4 });
    const destination = audio.createMediaStreamDestination();
    oscillator.connect(gain).connect(destination);
    oscillator.start();
    return destination.stream.getAudioTracks()[0];
  }

  const wanted = (constraint) => constraint !== undefined && constraint !== false;
  const deviceId = (constraint) => {
    const id = constraint?.deviceId?.exact ?? constraint?.deviceId?.ideal ?? constraint?.deviceId;
    return id === 'camera2' ? 'camera2' : 'camera';
  };
  const media = navigator.mediaDevices;
  media.getUserMedia = async ({ audio: sound, video } = {}) => {
    const tracks = [];
    if (wanted(sound)) tracks.push(audioTrack());
    if (wanted(video)) tracks.push(videoTrack(deviceId(video)));
    return new MediaStream(tracks);
  };
  media.getDisplayMedia = async () => new MediaStream([videoTrack('screen')]);
  media.enumerateDevices = async () =>
    [
      ['videoinput', 'camera', 'Camera one'],
      ['videoinput', 'camera2', 'Camera two'],
      ['audioinput', 'microphone', 'Microphone'],
    ].map(([kind, id, label]) => ({ kind, deviceId: id, groupId: id, label, toJSON: () => ({ kind, deviceId: id, label }) }));
}

/**
 * Runs in the page: what the first matching video shows, or why nothing can be told.
 * @returns {{index: number, device: string, counter: number, colour: number, width: number, height: number} | {error: string}}
 */
export function readPicture(selector, picture) {
  const video = document.querySelector(selector);
  if (!(video instanceof HTMLVideoElement)) return { error: `no video at ${selector}` };
  const { videoWidth: width, videoHeight: height } = video;
  if (!width || !height) return { error: 'the video has no picture yet' };
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(video, 0, 0);
  const mean = (x, y, w, h) => {
    const { data } = context.getImageData(Math.round(x), Math.round(y), Math.max(1, Math.round(w)), Math.max(1, Math.round(h)));
    const sum = [0, 0, 0];
    for (let i = 0; i < data.length; i += 4) for (let c = 0; c < 3; c++) sum[c] += data[i + c];
    return sum.map((value) => value / (data.length / 4));
  };
  const bar = width / picture.bits;
  let value = 0;
  for (let bit = 0; bit < picture.bits; bit++) {
    const [r, g, b] = mean((bit + 0.35) * bar, height * (1 - picture.barHeight / 2), bar * 0.3, height * 0.04);
    const light = (r + g + b) / 3;
    if (light > 90 && light < 165) return { error: `bar ${bit} is neither black nor white: ${light.toFixed(0)}` };
    value = (value << 1) | (light >= 165 ? 1 : 0);
  }
  const seen = mean(width * 0.4, height * 0.3, width * 0.2, height * 0.2);
  const distance = ([r, g, b]) => Math.hypot(r - seen[0], g - seen[1], b - seen[2]);
  const colour = picture.colours.reduce((best, c, i) => (distance(c) < distance(picture.colours[best]) ? i : best), 0);
  if (distance(picture.colours[colour]) > 60) return { error: `no participant's colour: ${seen.map(Math.round)}` };
  return {
    index: value >> (picture.counterBits + 2),
    device: picture.devices[(value >> picture.counterBits) & 3],
    counter: value & ((1 << picture.counterBits) - 1),
    colour,
    width,
    height,
  };
}

/** The colour that `device` of participant `index` has. */
export const colourOf = (index, device) => (index + 3 * PICTURE.devices.indexOf(device)) % PICTURE.colours.length;

/**
 * Runs in the page: the loudest frequency of the track in the first matching audio or video element, over about 200 ms.
 * @returns {Promise<{hertz: number, level: number} | {error: string}>} level in dBFS of that bin
 */
export async function readTone(selector) {
  const element = [...document.querySelectorAll(selector)].find((e) => e.srcObject?.getAudioTracks().length > 0);
  if (!element) return { error: `no sound at ${selector}` };
  const [track] = element.srcObject.getAudioTracks();
  window.ears ??= { context: new AudioContext(), nodes: new Map() };
  const { context, nodes } = window.ears;
  await context.resume();
  let analyser = nodes.get(track.id);
  if (!analyser) {
    analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    // A silent way to the speakers: some browsers run only what leads there.
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser).connect(new GainNode(context, { gain: 0 })).connect(context.destination);
    nodes.set(track.id, analyser);
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const loudest = bins.reduce((best, level, i) => (level > bins[best] ? i : best), 0);
  return { hertz: (loudest * context.sampleRate) / analyser.fftSize, level: Math.max(-200, bins[loudest]) };
}
