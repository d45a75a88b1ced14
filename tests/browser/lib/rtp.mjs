/** Packets from an encoder on this machine, for libraries that send what others encoded. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Hands on the RTP packets that come to a port of this machine, not the RTCP.
 * @param {(packet: Buffer) => void} send
 * @returns {Promise<number>} the port
 */
export async function receive(send) {
  const socket = createSocket('udp4').unref();
  socket.on('message', (packet) => {
    // RFC 5761 section 4.
    const isRtcp = packet[1] >= 192 && packet[1] <= 223;
    if (!isRtcp) send(packet);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket.address().port;
}
