/** FFmpeg as an encoder for libraries that send packets which others made. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after } from 'node:test';
import { ffmpeg } from './programs.mjs';

const sockets = [];
after(() => sockets.forEach((socket) => socket.close()));

/** A port of this machine whose RTP packets go to `send`; RTCP comes there too and is left out. */
async function port(send) {
  const socket = createSocket('udp4');
  sockets.push(socket);
  socket.on('message', (packet) => {
    const isRtcp = packet[1] >= 200 && packet[1] <= 204;
    if (!isRtcp) send(packet);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket.address().port;
}

/**
 * Encodes the camera and microphone of participant `index`. A keyframe comes every 2 s: nobody can ask for one.
 * @param {number} index
 * @param {Record<'audio' | 'video', {encoder: string[], payloadType: number, ssrc: number, send: (packet: Buffer) => void}>} tracks
 */
export async function encode(index, { audio, video }) {
  const output = async ({ encoder, payloadType, ssrc, send }) => {
    const to = await port(send);
    return [...encoder, '-f', 'rtp', '-payload_type', payloadType, '-ssrc', ssrc, `rtp://127.0.0.1:${to}?rtcpport=${to}&pkt_size=1200`];
  };
  // Without a file, it writes its description on standard output.
  return ffmpeg(index, ['-map', '0:v', ...(await output(video)), '-map', '1:a', ...(await output(audio)), '-sdp_file', '/dev/null']);
}

export const OPUS = ['-c:a', 'libopus', '-ac', '2', '-ar', '48000'];
export const VP8 = ['-c:v', 'libvpx', '-deadline', 'realtime', '-cpu-used', '8', '-b:v', '500k', '-g', '30'];
export const H264 = ['-c:v', 'libx264', '-profile:v', 'baseline', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '30', '-bf', '0', '-pix_fmt', 'yuv420p'];
