/**
 * @module
 * The corrections that offers need.
 */

/**
 * Asks for lost audio, which browsers can but do not offer: without it a lost packet is a gap in what is heard.
 * @param {string} sdp
 */
export function askForLostAudio(sdp) {
  const feedback = (/** @type {string} */ number) => `a=rtcp-fb:${number} nack\r\n`;
  return sdp.replace(/a=rtpmap:(\d+) opus\/48000\/2\r\n/gi, (line, number) =>
    sdp.includes(feedback(number)) ? line : line + feedback(number),
  );
}

/**
 * Removes feedback lines of payload types that their section does not list. Firefox leaves those behind when
 * setCodecPreferences takes codecs away, and some parsers refuse the whole offer for it.
 * @param {string} sdp
 */
export function dropOrphanFeedback(sdp) {
  /** @type {string[]} */
  let listed = [];
  const lines = sdp.split('\r\n').filter((line) => {
    if (line.startsWith('m=')) listed = line.split(' ').slice(3);
    const feedback = /^a=rtcp-fb:(\d+) /.exec(line);
    return !feedback || listed.includes(feedback[1]);
  });
  return lines.join('\r\n');
}
