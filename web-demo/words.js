/**
 * @module
 * What moderators do, in sentences.
 */
import { t } from './language.js';

/** @typedef {import('./client/protocol.js').Moderated} Moderated */

/**
 * What somebody did to us; empty where nothing need be said, or where it comes as the end of the meeting.
 * @param {Moderated} done
 * @param {string} by who did it
 * @param {string} source of the track that it concerns
 */
export function toldToUs({ action, on, reason }, by, source) {
  const thing = source === 'camera' ? t('your camera') : t('your microphone');
  const sentence = {
    mute_track: t('{by} muted {thing}. You can turn it on again.', { by, thing }),
    stop_track: source === 'screen_share' ? t('{by} stopped your screen share.', { by }) : t('{by} turned {thing} off.', { by, thing }),
    lower_hand: t('{by} took your hand down.', { by }),
    set_permissions: t('{by} changed what you may do here.', { by }),
    update_participant: t('{by} changed how you are shown.', { by }),
    set_moderator: on ? t('{by} made you a moderator.', { by }) : t('{by} took the moderator’s role from you.', { by }),
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
    mute_all: t('{by} muted everybody.', { by }),
    kick: t('{by} removed {whom}.', { by, whom }),
    ban: t('{by} banned {whom}.', { by, whom }),
    unban: t('{by} lifted the ban of {whom}.', { by, whom }),
    admit: t('{by} let {whom} in.', { by, whom }),
    deny: t('{by} did not let {whom} in.', { by, whom }),
    set_moderator: on ? t('{whom} moderates now.', { whom }) : t('{whom} does not moderate any more.', { whom }),
  }[action];
  return sentence ? withReason(sentence, reason) : '';
}

/**
 * @param {string} sentence
 * @param {string | undefined} reason
 */
export function withReason(sentence, reason) {
  return reason ? t('{sentence} Reason: {reason}', { sentence, reason }) : sentence;
}

/** How long yet. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 5400) return t('{count} min', { count: Math.ceil(seconds / 60) });
  if (seconds < 129_600) return t('{count} h', { count: Math.round(seconds / 3600) });
  return t('{count} days', { count: Math.round(seconds / 86_400) });
}
