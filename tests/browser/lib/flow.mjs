/** How the picture of somebody goes on at a viewer's, and what the two browsers count of it. */
import { until } from './until.mjs';

/** The status of somebody's picture as the viewer's page knows it, and the line that its tile says. */
export function statusOf(viewer, publisher, source = 'camera') {
  return viewer.page.evaluate((id, selector, of) => {
    const tracks = [...(window.switchyard.room.participants.get(id)?.tracks.values() ?? [])];
    const track = tracks.find(({ source }) => source === of);
    const text = document.querySelector(`${selector} .quality`)?.textContent ?? '';
    return track ? { track: track.id, status: track.status, text } : null;
  }, publisher.id, viewer.tileOf(publisher, source), source);
}

/** Counters of the picture of somebody that arrives at a viewer. */
export function inboundOf(viewer, publisher, source = 'camera') {
  return viewer.page.evaluate(async (id, of) => {
    const tracks = [...(window.switchyard.room.participants.get(id)?.tracks.values() ?? [])];
    const transceiver = tracks.find(({ source }) => source === of)?.transceiver;
    if (!transceiver) return { error: 'no slot' };
    const report = await transceiver.receiver.getStats();
    const inbound = [...report.values()].find(({ type }) => type === 'inbound-rtp');
    return inbound ? { ...inbound, mimeType: report.get(inbound.codecId)?.mimeType } : { error: 'no counters' };
  }, publisher.id, source);
}

/** Counters of each encoding of the own camera. */
export function outboundOf(publisher) {
  return publisher.page.evaluate(async () => {
    const local = [...window.switchyard.room.localTracks].find(({ source }) => source === 'camera');
    const report = await local.transceiver.sender.getStats();
    return [...report.values()].filter(({ type }) => type === 'outbound-rtp').map((one) => ({ ...one }));
  });
}

/** The rids that the publisher's page has its browser send of the own camera: neither ended nor silent (`silent-layers.js`). */
export function ridsOf(publisher) {
  return publisher.page.evaluate(() => {
    const { sender } = [...window.switchyard.room.localTracks].find(({ source }) => source === 'camera').transceiver;
    const sent = sender.getParameters().encodings.filter(({ active, maxBitrate }) => active !== false && maxBitrate !== 1);
    return sent.map(({ rid }) => rid);
  });
}

/** From now on the viewer's page notes when each frame of that tile is on screen, and its width. */
export function watchFrames(viewer, publisher) {
  return viewer.page.evaluate((selector) => {
    const video = document.querySelector(`${selector} video`);
    const frames = [];
    const watch = { frames, stopped: false };
    window.testFlow?.forEach((other) => (other.stopped = true));
    (window.testFlow = []).push(watch);
    const note = (now, { width, mediaTime }) => {
      if (watch.stopped) return;
      frames.push({ at: performance.now(), width, mediaTime });
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
    return performance.now();
  }, viewer.tileOf(publisher));
}

/** The frames since `watchFrames`, and the time of the page now. */
export async function framesOf(viewer) {
  return viewer.page.evaluate(() => ({ now: performance.now(), frames: window.testFlow[0].frames }));
}

/** Longest time without a new frame, in milliseconds, up to the last frame. */
export function longestGap(frames) {
  return frames.slice(1).reduce((longest, { at }, index) => Math.max(longest, at - frames[index].at), 0);
}

/** Waits until the camera of somebody is decoded at a width, and goes on in it. */
export async function decodes(viewer, publisher, width, deadlineMs) {
  let first = null;
  return until(
    `${viewer.name} to decode ${publisher.name}'s picture ${width} wide`,
    async () => {
      const seen = await inboundOf(viewer, publisher);
      if (seen.error) return seen;
      if (seen.frameWidth !== width) {
        first = null;
        return { error: 'another width', width: seen.frameWidth, status: (await statusOf(viewer, publisher))?.status };
      }
      first ??= seen;
      return seen.framesDecoded - first.framesDecoded > 5 ? seen : { error: 'frozen', framesDecoded: seen.framesDecoded };
    },
    deadlineMs,
  );
}
