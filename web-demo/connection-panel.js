/**
 * @module
 * The four stages of a connection as they pass: what was exchanged, which addresses found each other, what protects them, what flows.
 */
import { element } from './dom.js';
import { bits } from './stats-overlay.js';
import { number, t } from './language.js';

/** @typedef {import('./client/direct.js').Exchanged} Exchanged */
/** @typedef {'waiting' | 'active' | 'done' | 'failed'} Progress */
/** @typedef {[string, string][]} Rows */
/** @typedef {Record<string, any>} Entry of a report; browsers differ in what is there */

const INTERVAL_MS = 1000;
/** So much is shown of what was exchanged; the rest is counted. */
const EXCHANGED_SHOWN_MAX = 200;
const STAGES = /** @type {const} */ (['signaling', 'connecting', 'securing', 'communicating']);
/** @type {Record<Progress, string>} */
const WORDS = { waiting: '', active: t('under way'), done: t('done'), failed: t('failed') };
/** @type {Record<string, string>} */
const TLS_VERSIONS = { FEFF: 'DTLS 1.0', FEFD: 'DTLS 1.2', FEFC: 'DTLS 1.3' };
const UNTOLD = t('this browser does not tell');

export class ConnectionPanel {
  /** @type {RTCPeerConnection | null} */
  #connection = null;
  #timer = 0;
  /** Numbers of messages by what they are. @type {Map<string, {sent: number, received: number}>} */
  #counts = new Map();
  /** Bytes at the look before. @type {{at: number, sent: number, received: number} | null} */
  #before = null;

  reset() {
    this.#counts.clear();
    element('exchanged').replaceChildren();
    this.follow(null);
  }

  /** @param {RTCPeerConnection | null} connection */
  follow(connection) {
    clearInterval(this.#timer);
    this.#connection = connection;
    this.#before = null;
    for (const stage of STAGES) show(stage, 'waiting', []);
    if (!connection) return;
    for (const event of ['signalingstatechange', 'icegatheringstatechange', 'iceconnectionstatechange', 'connectionstatechange']) {
      connection.addEventListener(event, () => void this.#refresh());
    }
    this.#timer = window.setInterval(() => void this.#refresh(), INTERVAL_MS);
  }

  /** @param {Exchanged} entry */
  add({ sent, what, detail, at }) {
    const count = this.#counts.get(what) ?? { sent: 0, received: 0 };
    count[sent ? 'sent' : 'received'] += 1;
    this.#counts.set(what, count);
    const line = document.createElement('li');
    line.textContent = `${number(at / 1000, 2)} s ${sent ? '→' : '←'} ${what}${detail ? `: ${detail}` : ''}`;
    const list = element('exchanged');
    list.append(line);
    if (list.childElementCount > EXCHANGED_SHOWN_MAX) list.firstElementChild?.remove();
    void this.#refresh();
  }

  async #refresh() {
    const connection = this.#connection;
    if (!connection || connection.signalingState === 'closed') return;
    const report = await connection.getStats();
    // Another connection may have come meanwhile.
    if (connection !== this.#connection) return;
    /** @type {Entry[]} */
    const entries = [...report.values()];
    show('signaling', signalingProgress(connection), this.#signalingRows(connection));
    show('connecting', iceProgress(connection), iceRows(connection, entries));
    show('securing', dtlsProgress(connection, entries), dtlsRows(entries));
    const connected = connection.connectionState === 'connected';
    show('communicating', connected ? 'done' : 'waiting', connected ? this.#flowRows(connection, entries) : []);
  }

  /** @param {RTCPeerConnection} connection @returns {Rows} */
  #signalingRows(connection) {
    const counted = [...this.#counts].filter(([what]) => what !== 'hello' && what !== 'back');
    const states = { stable: t('both agree'), 'have-local-offer': t('waiting for the answer'), 'have-remote-offer': t('answering') };
    const state = states[/** @type {keyof typeof states} */ (connection.signalingState)] ?? connection.signalingState;
    return [['State', state], ...counted.map(([what, { sent, received }]) => /** @type {[string, string]} */ ([`${what[0].toUpperCase()}${what.slice(1)}`, t('{sent} sent, {received} received', { sent, received })]))];
  }

  /**
   * @param {RTCPeerConnection} connection
   * @param {Entry[]} entries
   * @returns {Rows}
   */
  #flowRows(connection, entries) {
    const pair = selectedPair(entries);
    /** @type {Rows} */
    const rows = [];
    if (pair) {
      const now = { at: performance.now(), sent: pair.bytesSent ?? 0, received: pair.bytesReceived ?? 0 };
      const before = this.#before;
      this.#before = now;
      if (before && now.at > before.at) {
        const rate = /** @param {number} bytes */ (bytes) => bits((bytes * 8000) / (now.at - before.at));
        rows.push(['Rate', t('{sent} out, {received} in', { sent: rate(now.sent - before.sent), received: rate(now.received - before.received) })]);
      }
      if (pair.currentRoundTripTime !== undefined) rows.push(['Round trip', `${Math.round(pair.currentRoundTripTime * 1000)} ms`]);
    }
    const codec = /** @param {Entry} stream */ (stream) => entries.find(({ id }) => id === stream.codecId)?.mimeType?.split('/')[1] ?? stream.kind;
    for (const [type, word] of [['outbound-rtp', 'Media out'], ['inbound-rtp', 'Media in']]) {
      const flowing = entries.filter((entry) => entry.type === type && (entry.packetsSent ?? entry.packetsReceived) > 0);
      if (flowing.length > 0) rows.push([word, flowing.map(codec).join(', ')]);
    }
    const channels = entries.filter((entry) => entry.type === 'data-channel' && entry.state === 'open');
    const sctp = connection.sctp?.state ?? (channels.length > 0 ? 'connected' : 'closed');
    rows.push(['Data', sctp === 'connected' ? t('SCTP, {count} channels', { count: channels.length }) : sctp]);
    return rows;
  }
}

/** @param {RTCPeerConnection} connection @returns {Progress} */
function signalingProgress({ signalingState, currentRemoteDescription }) {
  return signalingState === 'stable' && currentRemoteDescription ? 'done' : 'active';
}

/** @param {RTCPeerConnection} connection @returns {Progress} */
function iceProgress({ iceConnectionState }) {
  if (iceConnectionState === 'connected' || iceConnectionState === 'completed') return 'done';
  if (iceConnectionState === 'failed') return 'failed';
  return iceConnectionState === 'new' ? 'waiting' : 'active';
}

/**
 * @param {RTCPeerConnection} connection
 * @param {Entry[]} entries
 * @returns {Progress}
 */
function dtlsProgress({ connectionState }, entries) {
  const state = transportOf(entries)?.dtlsState;
  if (state === 'failed') return 'failed';
  if (state === 'connected' || connectionState === 'connected') return 'done';
  return state === 'connecting' ? 'active' : 'waiting';
}

/**
 * @param {RTCPeerConnection} connection
 * @param {Entry[]} entries
 * @returns {Rows}
 */
function iceRows(connection, entries) {
  const local = entries.filter(({ type }) => type === 'local-candidate').length;
  const remote = entries.filter(({ type }) => type === 'remote-candidate').length;
  /** @type {Rows} */
  const rows = [['Candidates', t('{local} of ours ({state}), {remote} of theirs', { local, remote, state: connection.iceGatheringState })]];
  const pair = selectedPair(entries);
  if (pair) {
    const side = /** @param {string} id */ (id) => candidate(entries.find((entry) => entry.id === id));
    rows.push(['Chosen pair', `${side(pair.localCandidateId)} ↔ ${side(pair.remoteCandidateId)}`]);
  }
  return rows;
}

/** @param {Entry | undefined} entry */
function candidate(entry) {
  if (!entry) return t('unknown');
  const { candidateType, protocol, relayProtocol, address, ip, port } = entry;
  return `${candidateType} ${relayProtocol ? t('over {relayProtocol}', { relayProtocol }) : ''} ${protocol} ${address ?? ip ?? t('hidden address')}:${port}`.replace('  ', ' ');
}

/** @param {Entry[]} entries @returns {Rows} */
function dtlsRows(entries) {
  const transport = transportOf(entries);
  if (!transport || (transport.dtlsState && transport.dtlsState !== 'connected')) return [];
  return [
    ['Version', TLS_VERSIONS[transport.tlsVersion] ?? transport.tlsVersion ?? UNTOLD],
    ['Cipher', transport.dtlsCipher ?? UNTOLD],
    ['SRTP profile', transport.srtpCipher ?? UNTOLD],
    ['Our part', transport.dtlsRole ?? UNTOLD],
  ];
}

/** @param {Entry[]} entries */
function transportOf(entries) {
  return entries.find(({ type }) => type === 'transport');
}

/** @param {Entry[]} entries */
function selectedPair(entries) {
  const id = transportOf(entries)?.selectedCandidatePairId;
  return entries.find((entry) => entry.type === 'candidate-pair' && (id ? entry.id === id : entry.selected || (entry.nominated && entry.state === 'succeeded')));
}

/**
 * @param {typeof STAGES[number]} stage
 * @param {Progress} progress
 * @param {Rows} rows
 */
function show(stage, progress, rows) {
  const item = /** @type {HTMLElement} */ (element('stages').querySelector(`[data-stage="${stage}"]`));
  item.dataset.progress = progress;
  /** @type {HTMLElement} */ (item.querySelector('.progress')).textContent = WORDS[progress];
  const list = /** @type {HTMLElement} */ (item.querySelector('dl'));
  list.replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement('div');
      const [term, detail] = [document.createElement('dt'), document.createElement('dd')];
      term.textContent = t(name);
      detail.textContent = value;
      detail.dataset.stat = name;
      row.append(term, detail);
      return row;
    }),
  );
}
