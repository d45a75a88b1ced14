/**
 * @module
 * Cameras, microphones and screens, and what to tell people when there is none.
 */

/** @typedef {'camera' | 'microphone'} Device */

/** @typedef {{echoCancellation: boolean, noiseSuppression: boolean}} Processing of the microphone's sound */

/** @type {Record<Device | 'speaker', MediaDeviceKind>} */
const KINDS = { camera: 'videoinput', microphone: 'audioinput', speaker: 'audiooutput' };
/** @type {Processing} */
const PROCESSED = { echoCancellation: true, noiseSuppression: true };

/** Null, or the sentence that says why this page can have no devices at all. */
export function devicesProblem() {
  // Absent on pages without https, whatever the types say.
  if (/** @type {MediaDevices | undefined} */ (navigator.mediaDevices)) return null;
  if (!window.isSecureContext) {
    return 'The browser gives this page no camera or microphone, because it was not opened over https. Open it over https.';
  }
  return 'This browser has no access to cameras and microphones.';
}

/**
 * Opens a camera or microphone. Rejects with an Error whose message is a plain sentence.
 * @param {Device} device
 * @param {string} [deviceId] the one wanted; if it is gone, any
 * @param {Processing} [processing]
 * @returns {Promise<MediaStreamTrack>}
 */
export async function openDevice(device, deviceId, processing = PROCESSED) {
  const problem = devicesProblem();
  if (problem) throw new Error(problem);
  try {
    return await open(device, deviceId ? { exact: deviceId } : undefined, processing);
  } catch (error) {
    const name = nameOf(error);
    if (deviceId && (name === 'OverconstrainedError' || name === 'NotFoundError')) return openDevice(device, '', processing);
    throw new Error(sentence(device, name));
  }
}

/** @typedef {{camera: MediaStreamTrack | null, microphone: MediaStreamTrack | null, problems: string[]}} Opened */

/**
 * Opens what is wanted, with one question to the user where possible. Never rejects: a missing device is a problem told.
 * @param {Record<Device, boolean>} wanted
 * @param {Record<Device, string> & Partial<Processing>} choices devices by their ids, and what is done to the sound
 * @returns {Promise<Opened>}
 */
export async function openWanted(wanted, choices) {
  const ids = { ...PROCESSED, ...choices };
  if (wanted.camera && wanted.microphone) return openBoth(ids);
  const none = { camera: null, microphone: null, problems: [] };
  if (!wanted.camera && !wanted.microphone) return none;
  const device = wanted.camera ? 'camera' : 'microphone';
  try {
    return { ...none, [device]: await openDevice(device, ids[device], ids) };
  } catch (error) {
    return { ...none, problems: [/** @type {Error} */ (error).message] };
  }
}

/**
 * @param {Record<Device, string> & Processing} ids
 * @returns {Promise<Opened>}
 */
async function openBoth(ids) {
  const problem = devicesProblem();
  if (problem) return { camera: null, microphone: null, problems: [problem] };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      video: constraints('camera', ids.camera ? { ideal: ids.camera } : undefined, ids),
      audio: constraints('microphone', ids.microphone ? { ideal: ids.microphone } : undefined, ids),
    });
    return { camera: stream.getVideoTracks()[0], microphone: stream.getAudioTracks()[0], problems: [] };
  } catch (error) {
    return openEach(ids, nameOf(error));
  }
}

/**
 * After both failed together: one of them may still be had.
 * @param {Record<Device, string> & Processing} ids
 * @param {string} failure name of the error
 * @returns {Promise<Opened>}
 */
async function openEach(ids, failure) {
  if (failure === 'NotAllowedError') return openAllowed(ids);
  const [camera, microphone] = await Promise.allSettled([openDevice('camera', ids.camera), openDevice('microphone', ids.microphone, ids)]);
  const problems = [camera, microphone].flatMap((result) => (result.status === 'rejected' ? [result.reason.message] : []));
  if (failure === 'NotFoundError' && problems.length === 2) problems.splice(0, 2, sentence('both', 'NotFoundError'));
  return {
    camera: camera.status === 'fulfilled' ? camera.value : null,
    microphone: microphone.status === 'fulfilled' ? microphone.value : null,
    problems,
  };
}

/**
 * Opens a screen or window; null when the user thought better of it.
 * @returns {Promise<{video: MediaStreamTrack, audio: MediaStreamTrack | null} | null>}
 */
export async function openScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new Error('This browser cannot share its screen.');
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: true });
    const [video] = stream.getVideoTracks();
    video.contentHint = 'detail';
    return { video, audio: stream.getAudioTracks()[0] ?? null };
  } catch (error) {
    if (nameOf(error) === 'NotAllowedError') return null;
    throw new Error('The screen could not be shared. The system may not allow this browser to record it.');
  }
}

/**
 * The devices there are; their labels are empty until the user has allowed one. Never rejects.
 * @param {Device | 'speaker'} device
 * @returns {Promise<MediaDeviceInfo[]>}
 */
export async function listDevices(device) {
  const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return all.filter(({ kind }) => kind === KINDS[device]);
}

/**
 * Called when a device comes or goes; returns what stops it.
 * @param {() => void} listener
 */
export function onDevicesChanged(listener) {
  navigator.mediaDevices?.addEventListener?.('devicechange', listener);
  return () => navigator.mediaDevices?.removeEventListener?.('devicechange', listener);
}

/** @param {MediaStreamTrack | null} track */
export function deviceIdOf(track) {
  return track?.getSettings().deviceId ?? '';
}

/**
 * @param {Device} device
 * @param {ConstrainDOMString | undefined} deviceId
 * @param {Processing} processing
 */
async function open(device, deviceId, processing) {
  const wanted = constraints(device, deviceId, processing);
  const stream = await navigator.mediaDevices.getUserMedia(device === 'camera' ? { video: wanted } : { audio: wanted });
  return stream.getTracks()[0];
}

/**
 * @param {Device} device
 * @param {ConstrainDOMString | undefined} deviceId
 * @param {Processing} processing
 * @returns {MediaTrackConstraints}
 */
function constraints(device, deviceId, { echoCancellation, noiseSuppression }) {
  const chosen = deviceId ? { deviceId } : {};
  if (device === 'microphone') return { ...chosen, echoCancellation, noiseSuppression, autoGainControl: true };
  return { ...chosen, width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
}

/**
 * Opens what was not refused, without asking a second time.
 * @param {Processing} processing
 * @returns {Promise<Opened>}
 */
async function openAllowed(processing) {
  const allowed = await Promise.all([queryAllowed('camera'), queryAllowed('microphone')]);
  const camera = allowed[0] ? await openDevice('camera').catch(() => null) : null;
  const microphone = allowed[1] ? await openDevice('microphone', '', processing).catch(() => null) : null;
  const refused = !camera && !microphone ? 'both' : camera ? 'microphone' : 'camera';
  return { camera, microphone, problems: [sentence(refused, 'NotAllowedError')] };
}

/** @param {Device} device */
async function queryAllowed(device) {
  try {
    const status = await navigator.permissions.query({ name: /** @type {PermissionName} */ (device) });
    return status.state === 'granted';
  } catch {
    // Some browsers do not tell.
    return false;
  }
}

/**
 * @param {Device | 'both'} device
 * @param {string} errorName
 */
function sentence(device, errorName) {
  const thing = device === 'both' ? (errorName === 'NotFoundError' ? 'camera or microphone' : 'camera and microphone') : device;
  switch (errorName) {
    case 'NotAllowedError':
    case 'SecurityError':
      return `The browser was not allowed to use your ${thing}. You can allow it with the icon beside the address.`;
    case 'NotFoundError':
      return `No ${thing} was found.`;
    case 'NotReadableError':
    case 'AbortError':
      return `Your ${thing} cannot be opened; another program may be using it.`;
    default:
      return `Your ${thing} could not be opened (${errorName}).`;
  }
}

/** @param {unknown} error */
function nameOf(error) {
  return error instanceof Error || error instanceof DOMException ? error.name : 'Error';
}
