/**
 * usage: node werift.mjs WHIP_URL
 * Publishes with werift what an encoder sends to two ports of this machine: {"ports": {"audio": …, "video": …}} on standard output.
 * Ends when its standard input does: by itself werift would not, it leaves a socket open.
 */
import { MediaStreamTrack, RTCPeerConnection, useOPUS, useVP8 } from 'werift';
import { receive } from '../lib/rtp.mjs';

const [url] = process.argv.slice(2);
const connection = new RTCPeerConnection({ codecs: { audio: [useOPUS()], video: [useVP8()] } });
const ports = {};
for (const kind of ['audio', 'video']) {
  const track = new MediaStreamTrack({ kind });
  connection.addTransceiver(track, { direction: 'sendonly' });
  ports[kind] = await receive((packet) => track.writeRtp(packet));
}
const offer = await connection.createOffer();
// Not awaited: werift asks a STUN server on the internet for its address, and here nobody answers for 5 s. Ours learns it from the checks.
void connection.setLocalDescription(offer);
const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: offer.sdp });
const answer = await response.text();
if (response.status !== 201) throw new Error(`${response.status} ${answer}\nto the offer\n${offer.sdp}`);
await connection.setRemoteDescription({ type: 'answer', sdp: answer });
const session = new URL(response.headers.get('location'), url);
console.log(JSON.stringify({ session, ports }));
process.stdin.resume().once('end', async () => {
  await fetch(session, { method: 'DELETE' });
  process.exit(0);
});
