/**
 * @module
 * The Switchyard client: join a room, publish, see and hear the others. It knows the server only through
 * signaling/PROTOCOL.md, and it knows nothing of any page.
 *
 * ```js
 * const room = await connect('wss://example.org/ws', { room: 'demo', name: 'Ada' });
 * room.addEventListener('tracksubscribed', ({ detail }) => { video.srcObject = detail.stream; });
 * await room.publish(cameraTrack, { source: 'camera' });
 * ```
 */
import { Room } from './room.js';

export { Room } from './room.js';
export { SwitchyardError } from './signaling.js';
export { LocalTrack, RemoteParticipant, RemoteTrack } from './tracks.js';

/** @typedef {import('./events.js').RoomEvents} RoomEvents */
/** @typedef {import('./options.js').ConnectOptions} ConnectOptions */
/** @typedef {import('./data.js').DataOptions} DataOptions */

/**
 * Joins a room. Rejects with a SwitchyardError whose message is a plain sentence.
 * @param {string | URL} url of the WebSocket, for example `wss://example.org/ws`
 * @param {ConnectOptions} options
 * @returns {Promise<Room>}
 */
export async function connect(url, options) {
  const room = new Room(url, options);
  await room.join();
  return room;
}
