/**
 * @module
 * The one correction that offers need on their way to the server.
 */

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
