/**
 * @module
 * One session of WHIP or WHEP: its requests, and its events. It knows nothing of media, and it never retries.
 */
import { dropOrphanFeedback } from './sdp.js';
import { SwitchyardError } from './signaling.js';

const REQUEST_TIMEOUT_MS = 12_000;
const SDP = 'application/sdp';
const EVENTS = ':server-sent-events';
const LAYER = ':layer';

/** A refusal; its message is the server's sentence. `code` is `refused`, `unreachable` or `codec` (this browser cannot play what is live). */
export class HttpError extends SwitchyardError {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, retryAfterMs?: number}} [about]
   */
  constructor(code, message, { status = 0, retryAfterMs } = {}) {
    super(code, message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

export class HttpSession {
  #location;
  #token;
  /** Extensions by the end of their names. @type {Map<string, string>} */
  #links;
  /** @type {EventSource | null} */
  #source = null;
  #ended = false;

  /**
   * Offers what the connection has, and applies the answer. Rejects with an HttpError.
   * @param {string | URL} url
   * @param {RTCPeerConnection} connection
   * @param {string} [token]
   */
  static async open(url, connection, token) {
    await connection.setLocalDescription();
    const offer = dropOrphanFeedback(connection.localDescription?.sdp ?? '');
    const response = await send('POST', url, { token, type: SDP, body: offer });
    const { extensions, iceServers } = links(response, url);
    const session = new HttpSession(new URL(response.headers.get('location') ?? '', url), token, extensions);
    try {
      const sdp = await response.text();
      const formats = codecs(sdp);
      if (response.status === 406) throw new HttpError('codec', `The stream is sent as ${formats}, which this browser cannot play.`);
      await connection.setRemoteDescription({ type: 'answer', sdp });
      if (iceServers.length > 0) {
        // They were not known before, and only a restart gathers anew (RFC 9725 section 4.6).
        connection.setConfiguration({ ...connection.getConfiguration(), iceServers });
        await session.restartIce(connection);
      }
    } catch (error) {
      session.end();
      throw error;
    }
    return session;
  }

  /**
   * @param {URL} location
   * @param {string | undefined} token
   * @param {Map<string, string>} extensions
   */
  constructor(location, token, extensions) {
    this.#location = location;
    this.#token = token;
    this.#links = extensions;
  }

  /**
   * Restarts ICE as RFC 9725 section 4.3.3 has it.
   * @param {RTCPeerConnection} connection
   */
  async restartIce(connection) {
    const before = connection.remoteDescription?.sdp ?? '';
    const offer = await connection.createOffer({ iceRestart: true });
    await connection.setLocalDescription(offer);
    const ours = ['ice-ufrag', 'ice-pwd'].map((name) => attribute(offer.sdp ?? '', name));
    const body = ours.map((line) => `${line}\r\n`).join('');
    const response = await this.#send('PATCH', this.#location, { type: 'application/trickle-ice-sdpfrag', body, ifMatch: '*' });
    const fragment = await response.text();
    const sdp = ['ice-ufrag', 'ice-pwd'].reduce((text, name) => text.replaceAll(attribute(before, name), attribute(fragment, name)), before);
    await connection.setRemoteDescription({ type: 'answer', sdp });
  }

  /**
   * Tells of events until the end. `gone` is called when the server knows the session no more, `interrupted` when events are missed until the browser has
   * connected again and is told the present state.
   * @param {Record<string, (data: any) => void>} handlers by event
   * @param {() => void} gone
   * @param {() => void} interrupted
   */
  async listen(handlers, gone, interrupted) {
    const response = await this.#send('POST', this.#extension(EVENTS), { type: 'application/json', body: JSON.stringify(Object.keys(handlers)) });
    const address = new URL(response.headers.get('location') ?? '', this.#location);
    if (this.#ended) return;
    const source = new EventSource(address);
    this.#source = source;
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
    source.onerror = () => {
      if (this.#ended) return;
      // The browser asks again by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) gone();
      else interrupted();
    };
  }

  /** @param {object} choice as the layer extension defines it */
  async selectLayer(choice) {
    await this.#send('POST', this.#extension(LAYER), { type: 'application/json', body: JSON.stringify(choice) });
  }

  /** Ends the session, also from a page that is about to close. */
  end() {
    if (this.#ended) return;
    this.#ended = true;
    this.#source?.close();
    this.#send('DELETE', this.#location, {}).catch(() => undefined);
  }

  /** @param {string} name */
  #extension(name) {
    const address = this.#links.get(name);
    if (!address) throw new HttpError('refused', 'The server does not offer this.');
    return address;
  }

  /**
   * @param {string} method
   * @param {string | URL} url
   * @param {Omit<Request, 'token'>} request
   */
  #send(method, url, request) {
    return send(method, url, { ...request, token: this.#token });
  }
}

/** @typedef {{token?: string, type?: string, body?: string, ifMatch?: string}} Request */

/**
 * @param {string} method
 * @param {string | URL} url
 * @param {Request} request
 */
async function send(method, url, { token, type, body, ifMatch }) {
  /** @type {Record<string, string>} */
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(type && { 'content-type': type }), ...(ifMatch && { 'if-match': ifMatch }) };
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url, { method, headers, body, keepalive: method === 'DELETE', signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
  } catch {
    throw new HttpError('unreachable', 'The server cannot be reached. It may be stopped, or the network is down.');
  }
  if (response.ok || response.status === 406) return response;
  const seconds = Number(response.headers.get('retry-after'));
  const { status } = response;
  const message = (await response.text().catch(() => '')).trim() || `The server answered ${status}.`;
  throw new HttpError('refused', message, { status, retryAfterMs: seconds > 0 ? seconds * 1000 : undefined });
}

/**
 * What the answer announces: extensions, and STUN and TURN servers.
 * @param {Response} response
 * @param {string | URL} base
 */
function links(response, base) {
  /** @type {Map<string, string>} */
  const extensions = new Map();
  /** @type {RTCIceServer[]} */
  const iceServers = [];
  for (const [, target, attributes] of (response.headers.get('link') ?? '').matchAll(/<([^>]*)>((?: *; *[a-z-]+="[^"]*")*)/g)) {
    const value = /** @param {string} name */ (name) => new RegExp(`; *${name}="([^"]*)"`).exec(attributes)?.[1];
    const rel = value('rel') ?? '';
    const [username, credential] = [value('username'), value('credential')];
    if (rel === 'ice-server') iceServers.push({ urls: target, ...(username && { username }), ...(credential && { credential }) });
    for (const name of [EVENTS, LAYER]) if (rel.endsWith(name)) extensions.set(name, new URL(target, base).href);
  }
  return { extensions, iceServers };
}

/**
 * @param {string} sdp
 * @param {string} name
 */
function attribute(sdp, name) {
  return (new RegExp(`^a=${name}:.*$`, 'm').exec(sdp)?.[0] ?? '').trim();
}

/** The formats of an offer, for people. @param {string} sdp */
function codecs(sdp) {
  const names = [...sdp.matchAll(/^a=rtpmap:\d+ ([^/]+)/gm)].map(([, name]) => name).filter((name) => !/^(rtx|red|ulpfec|opus)$/i.test(name));
  return [...new Set(names)].join(', ').replace('H264', 'H.264') || 'a format';
}
