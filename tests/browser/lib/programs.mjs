/** Publishers and viewers that are no browsers: Python programs of native/, and FFmpeg. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { after } from 'node:test';
import { PICTURE, colourOf, toneOf } from './synthetic.mjs';
import { until } from './until.mjs';

const NATIVE = fileURLToPath(new URL('../native/', import.meta.url));
/** With what native/requirements.txt lists. */
const PYTHON = fileURLToPath(new URL('../../../target/tools/native/bin/python', import.meta.url));
/** Debian's own, which has the bindings of GStreamer. */
const SYSTEM_PYTHON = '/usr/bin/python3';

/** @type {Program[]} */
const programs = [];
after(() => programs.forEach(({ child }) => child.kill('SIGKILL')));

/** A running program; it is killed when the tests of the file are over. What it says on standard output is JSON, one object per line. */
export class Program {
  /** Of the participant that it joined as. */
  id = '';
  /** Of its WHIP or WHEP session. */
  session = '';
  /** Where it takes RTP packets, by kind. */
  ports = {};
  seen = [];
  heard = [];
  /** What others said to it. */
  said = [];
  errors = '';

  /**
   * @param {string} command
   * @param {(string | number)[]} args
   * @param {{name: string, index?: number}} options `index`: colour and tone of what it publishes
   */
  constructor(command, args, { name, index }) {
    this.name = name;
    this.index = index;
    const env = { ...process.env, PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1' };
    this.child = spawn(command, args.map(String), { env });
    programs.push(this);
    let rest = '';
    this.child.stdout.on('data', (data) => {
      const lines = (rest + data).split('\n');
      rest = lines.pop();
      for (const line of lines) this.#note(JSON.parse(line));
    });
    this.child.stderr.on('data', (data) => (this.errors += data));
  }

  #note({ joined, session, ports, seen, heard, said }) {
    if (joined) this.id = joined;
    if (session) this.session = session;
    if (ports) this.ports = ports;
    if (seen) this.seen.push(seen);
    if (heard) this.heard.push(heard);
    if (said) this.said.push(said);
  }

  /** Waits until there is an `id` or a `session`. */
  started(what) {
    return until(`${this.name} to have its ${what}`, () => {
      if (this.child.exitCode !== null) throw new Error(`${this.name} ended:\n${this.errors.slice(-3000)}`);
      return this[what] !== '';
    });
  }

  /** Waits until it sees the camera of participant `index` moving, from now on. */
  sees(index, { width, deadlineMs } = {}) {
    const from = this.seen.length;
    return until(
      `${this.name} to see ${index} moving`,
      () => {
        const ours = (seen) => seen.index === index && seen.colour === colourOf(index, 'camera') && (!width || seen.width === width);
        const counters = this.seen.slice(from).slice(-12).filter(ours).map(({ counter }) => counter);
        const backwards = counters.some((counter, i) => i > 0 && (counter - counters[i - 1] + 1024) % 1024 > 512);
        const moving = counters.length > 10 && !backwards && new Set(counters).size > 5;
        return moving || { error: this.seen.slice(-3), stderr: this.errors.slice(-1000) };
      },
      deadlineMs,
    );
  }

  hears(index) {
    return until(`${this.name} to hear ${index}`, () => this.heard.some(({ hertz }) => Math.abs(hertz - toneOf(index)) < 20) || { error: this.heard.slice(-3) });
  }

  /** Asks it to end as a person would, and waits until it has. */
  async end() {
    this.child.stdin.end(this.name === 'FFmpeg' ? 'q' : '');
    await until(`${this.name} to end`, () => this.child.exitCode !== null);
    assert.equal(this.child.exitCode, 0, this.errors.slice(-3000));
  }
}

const picture = ['--picture', JSON.stringify(PICTURE)];

/** A participant of a meeting, on `aiortc` or `wrtc`. */
export function participant(library, url, room, index) {
  const args = ['--library', library, '--url', `${url.replace('http', 'ws')}/ws`, '--room', room, '--name', library];
  return new Program(PYTHON, [`${NATIVE}participant.py`, ...args, '--index', index, '--tone', toneOf(index), ...picture], { name: library, index });
}

/** A participant on aiortc that has a data channel for the topic `chat`, and nothing else. */
export function dataSpeaker(url, room) {
  return new Program(PYTHON, [`${NATIVE}data.py`, '--url', `${url.replace('http', 'ws')}/ws`, '--room', room], { name: 'aiortc' });
}

/** A WHEP viewer on `aiortc` or `wrtc`. */
export function viewer(library, url) {
  return new Program(PYTHON, [`${NATIVE}viewer.py`, '--library', library, '--url', url, ...picture], { name: library });
}

const webrtcbin = (args, index) => new Program(SYSTEM_PYTHON, [`${NATIVE}gstreamer.py`, ...args, ...picture], { name: 'GStreamer', index });

/** webrtcbin as a WHIP publisher of VP8. */
export const gstreamerPublisher = (url, index) => webrtcbin(['publish', '--url', url, '--index', index, '--tone', toneOf(index)], index);

/** webrtcbin as a WHEP viewer of one format. */
export const gstreamerViewer = (url, codec) => webrtcbin(['view', '--url', url, '--codec', codec]);

/** werift as a WHIP publisher of what is sent to its `ports`. */
export function werift(url) {
  return new Program(process.execPath, [`${NATIVE}werift.mjs`, url], { name: 'werift' });
}

/**
 * FFmpeg sending the camera and microphone of participant `index`, as the arguments `output` say.
 * @param {number} index
 * @param {(string | number)[]} output
 */
export function ffmpeg(index, output) {
  const command = execFileSync(PYTHON, ['-c', 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())']).toString().trim();
  const sound = `sine=frequency=${toneOf(index)}:sample_rate=48000`;
  const input = ['-re', '-f', 'lavfi', '-i', drawing(index), '-re', '-f', 'lavfi', '-i', sound];
  return new Program(command, ['-loglevel', 'warning', ...input, ...output], { name: 'FFmpeg', index });
}

/**
 * FFmpeg sending RTP packets of both to these ports of this machine. A keyframe comes every 2 s: nobody can ask for one.
 * @param {number} index
 * @param {Record<'audio' | 'video', {encoder: string[], payloadType: number, ssrc: number, port: number}>} tracks
 */
export function encoder(index, { audio, video }) {
  const output = ({ encoder, payloadType, ssrc, port }) =>
    [...encoder, '-f', 'rtp', '-payload_type', payloadType, '-ssrc', ssrc, `rtp://127.0.0.1:${port}?rtcpport=${port}&pkt_size=1200`];
  // Without a file, it writes its description on standard output.
  return ffmpeg(index, ['-map', '0:v', ...output(video), '-map', '1:a', ...output(audio), '-sdp_file', '/dev/null']);
}

export const OPUS = ['-c:a', 'libopus', '-ac', '2', '-ar', '48000'];
export const VP8 = ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '500k', '-g', '30'];
const X26 = ['-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '30', '-bf', '0', '-pix_fmt', 'yuv420p'];
export const H264 = ['-c:v', 'libx264', '-profile:v', 'baseline', ...X26];
export const H265 = ['-c:v', 'libx265', ...X26, '-x265-params', 'repeat-headers=1:log-level=error'];

/** What `installDevices` draws, as a graph of FFmpeg's filters: the colour, and 16 bars that are always, never or at times white. */
function drawing(index, width = 640, height = 360, fps = 15) {
  const colour = PICTURE.colours[colourOf(index, 'camera')].map((value) => value.toString(16).padStart(2, '0')).join('');
  const top = height * (1 - PICTURE.barHeight);
  const box = (x, w, light, when) => `drawbox=x=${x}:y=${top}:w=${w}:h=${height - top}:color=${light}:t=fill${when}`;
  const filters = [`color=c=0x${colour}:s=${width}x${height}:r=${fps}`, box(0, width, 'black', '')];
  for (let bit = 0; bit < PICTURE.bits; bit++) {
    const weight = PICTURE.bits - 1 - bit;
    const counts = weight < PICTURE.counterBits;
    if (!counts && !((index << 2) >> (weight - PICTURE.counterBits) & 1)) continue;
    const when = counts ? `:enable='gte(mod(n,${2 ** (weight + 1)}),${2 ** weight})'` : '';
    filters.push(box((bit * width) / PICTURE.bits, width / PICTURE.bits, 'white', when));
  }
  return filters.join(',');
}
