/**
 * @module
 * What moderators do, in sentences.
 */

/** @typedef {import('./client/protocol.js').Moderated} Moderated */

const BECAUSE = ' Reason: ';

/**
 * What somebody did to us; empty where nothing need be said, or where it comes as the end of the meeting.
 * @param {Moderated} done
 * @param {string} by who did it
 * @param {string} source of the track that it concerns
 */
export function toldToUs({ action, on, reason }, by, source) {
  const thing = source === 'camera' ? 'your camera' : 'your microphone';
  const sentence = {
    mute_track: `${by} muted ${thing}. You can turn it on again.`,
    stop_track: source === 'screen_share' ? `${by} stopped your screen share.` : `${by} turned ${thing} off.`,
    lower_hand: `${by} took your hand down.`,
    set_permissions: `${by} changed what you may do here.`,
    update_participant: `${by} changed how you are shown.`,
    set_moderator: on ? `${by} made you a moderator.` : `${by} took the moderator’s role from you.`,
  }[action];
  return sentence ? withReason(sentence, reason) : '';
}

/**
 * What somebody did to somebody else, or to all; empty where nothing need be said.
 * @param {Moderated} done
 * @param {string} by
 * @param {string} whom
 */
export function toldOfOthers({ action, on, reason }, by, whom) {
  const sentence = {
    mute_all: `${by} muted everybody.`,
    kick: `${by} removed ${whom}.`,
    ban: `${by} banned ${whom}.`,
    unban: `${by} lifted the ban of ${whom}.`,
    admit: `${by} let ${whom} in.`,
    deny: `${by} did not let ${whom} in.`,
    set_moderator: on ? `${whom} moderates now.` : `${whom} does not moderate any more.`,
  }[action];
  return sentence ? withReason(sentence, reason) : '';
}

/**
 * @param {string} sentence
 * @param {string | undefined} reason
 */
function withReason(sentence, reason) {
  return reason ? `${sentence}${BECAUSE}${reason}` : sentence;
}

/** How long yet. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 5400) return `${Math.ceil(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
