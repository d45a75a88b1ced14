/** Pages that know nothing of us: WHIP and WHEP with plain `fetch`, each publishing or watching what lib/synthetic.mjs draws. */
import { PICTURE, colourOf, installDevices, readPicture, readTone, toneOf } from './synthetic.mjs';
import { until } from './until.mjs';

/** An empty page of the server's origin, with the devices of participant `index`. */
export async function emptyPage(browser, url, index, { fps = 15 } = {}) {
  const page = await (await browser.createBrowserContext()).newPage();
  const devices = { index, tone: toneOf(index), width: 640, height: 360, fps, picture: PICTURE };
  await page.evaluateOnNewDocument(installDevices, devices);
  await page.evaluateOnNewDocument(installMakeSession);
  await page.goto(`${url}/healthz`);
  return page;
}

/** Runs in the page before its scripts: `makeSession` posts a connection's offer; `error` is there where the answer is not 201. */
function installMakeSession() {
  window.makeSession = async (address, connection) => {
    window.connection = connection;
    await connection.setLocalDescription();
    const answer = await fetch(address, { method: 'POST', headers: { 'content-type': 'application/sdp' }, body: connection.localDescription.sdp });
    const { status } = answer;
    if (status !== 201) return { status, error: `${status} ${await answer.text()}`, session: null, tag: null };
    await connection.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    return { status, session: answer.headers.get('location'), tag: answer.headers.get('etag') };
  };
}

/**
 * Runs in the page: sends the camera and microphone by WHIP.
 * @param {string} address
 * @param {{codec?: string, rids?: string[]}} [options] a MIME type; names of layers, each twice as wide as the one before
 * @returns {Promise<{status: number, error?: string, session: string | null, tag: string | null}>} session's address and entity tag
 */
export async function publish(address, { codec, rids = [] } = {}) {
  const connection = new RTCPeerConnection();
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const sendEncodings = rids.map((rid, i) => ({ rid, scaleResolutionDownBy: 2 ** (rids.length - 1 - i) }));
  for (const track of stream.getTracks()) {
    const video = track.kind === 'video';
    const transceiver = connection.addTransceiver(track, { direction: 'sendonly', streams: [stream], ...(video && rids.length > 0 ? { sendEncodings } : {}) });
    if (video && codec) transceiver.setCodecPreferences(RTCRtpSender.getCapabilities('video').codecs.filter(({ mimeType }) => mimeType === codec));
  }
  return window.makeSession(address, connection);
}

/** Runs in the page: receives into #out by WHEP; returns the same as `publish`. */
export async function watch(address) {
  const connection = new RTCPeerConnection();
  const stream = new MediaStream();
  const out = document.querySelector('#out') ?? document.createElement('video');
  Object.assign(out, { id: 'out', autoplay: true, muted: true, srcObject: stream });
  document.body.append(out);
  connection.ontrack = ({ track }) => stream.addTrack(track);
  for (const kind of ['audio', 'video']) connection.addTransceiver(kind, { direction: 'recvonly' });
  return window.makeSession(address, connection);
}

/** Waits until #out shows the camera of participant `index` moving; returns what it showed first. */
export async function seesMoving(page, index, { width, deadlineMs } = {}) {
  const look = async () => {
    const seen = await page.evaluate(readPicture, '#out', PICTURE);
    const right = seen.index === index && seen.colour === colourOf(index, 'camera') && (!width || seen.width === width);
    return seen.error || right ? seen : { error: 'somebody else, or another layer', seen };
  };
  const first = await until(`the picture of ${index}`, look, deadlineMs);
  await until(`the picture of ${index} to move`, async () => {
    const now = await look();
    return now.error ? now : now.counter !== first.counter || { error: 'frozen', now };
  });
  return first;
}

/** Waits until the tone of participant `index` comes out of #out. */
export function hearsTone(page, index) {
  return until(`the tone of ${index}`, async () => {
    const heard = await page.evaluate(readTone, '#out');
    return Math.abs(heard.hertz - toneOf(index)) < 20 ? heard : { error: heard };
  });
}

/** The one participant that `person` knows, who publishes as participant `index`. */
export const otherOf = (person, index, name) =>
  until('the publisher in the list', async () => {
    const id = await person.page.evaluate(() => [...window.switchyard.room.participants.keys()][0]);
    return id ? { id, index, name } : { error: 'nobody' };
  });
