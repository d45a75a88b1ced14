/**
 * @module
 * Why packets went no further, in words. The labels are those of the metrics (`sfu/core/src/drop_reason.rs`).
 */
import { t } from './language.js';

/** @type {Record<string, string>} */
const REASONS = {
  malformed: t('Not a packet of any known kind'),
  unknown_tuple: t('From an address that has not proved itself'),
  unknown_ufrag: t('Connection check for a name that was not given out'),
  bad_stun: t('Connection check that is wrong, or not signed as agreed'),
  before_keys: t('Media before the keys were agreed on'),
  unauthenticated: t('Sealed with another key, or changed on the way'),
  replay: t('Sealed packet that was there before'),
  unknown_ssrc: t('Media of a track that nobody announced'),
  unknown_payload_type: t('In a format that was not agreed on'),
  padding: t('Padding only, by which senders probe their link'),
  duplicate: t('Part of a track that was there before'),
  too_old: t('Came later than anybody could use it'),
  muted: t('Of a track that is muted'),
  not_ready: t('For somebody whose connection is not ready yet'),
  waiting_keyframe: t('Before the keyframe with which a picture can begin'),
  other_encoding: t('Of a picture that is shown in another quality'),
  temporal_layer: t('More frames per second than are wanted'),
  spatial_layer: t('A larger picture than is wanted'),
  not_allocated: t('Not on screen, or the link has no room for it'),
  not_negotiated: t('In a format that the receiver cannot show'),
  before_switch: t('From before the last change of quality'),
  nack_not_cached: t('Asked for again, but not kept any more'),
  nack_limit: t('Asked for again too often, or the link has no room'),
  bad_rtcp: t('Report on the media that cannot be read'),
  unknown_id: t('For something that has ended'),
  pipe_full: t('The way to another worker was full'),
  unknown_pipe: t('By a way between workers that is not open'),
  pace_full: t('Too much waited to leave for one receiver'),
  pace_overdue: t('Waited too long to leave'),
  data_not_allowed: t('Data of somebody who may send none'),
  data_late: t('Data that came too late, or made room for newer'),
  data_no_channel: t('Data for a channel that is closed, or on none'),
  data_slow_reader: t('Data for a receiver that was too slow'),
  panicked: t('A fault of the server while it handled it'),
};

/** @type {Map<string, HTMLElement>} */
const made = new Map();

/** What a table says of a reason, always the same element: the words, and below them the label. @param {string} label */
export function describeReason(label) {
  let found = made.get(label);
  if (!found) {
    const name = Object.assign(document.createElement('code'), { textContent: label, translate: false });
    found = document.createElement('span');
    found.className = 'reason';
    found.append(REASONS[label] ?? label.replaceAll('_', ' '), name);
    made.set(label, found);
  }
  return found;
}
