/**
 * @module
 * What a moderator may do with somebody, and the question before what cannot be taken back.
 */
import { button, element, input, select } from './dom.js';
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/index.js').RemoteParticipant} RemoteParticipant */

/** What may be done: a name for programs, words, and whether it is asked for first. @typedef {{name: string, text: string, danger?: boolean, act: (reason: string) => Promise<unknown> | undefined}} Deed */

/**
 * @param {Room} room
 * @param {RemoteParticipant} participant
 * @param {(work: Promise<unknown>) => void} run
 */
export function personDialog(room, participant, run) {
  const dialog = /** @type {HTMLDialogElement} */ (element('person'));
  element('person-title').textContent = participant.name;
  input('person-reason').value = '';
  button('close-person').onclick = () => dialog.close();
  // Enter in the field of the reason chooses no deed, and does not close the dialog either.
  /** @type {HTMLFormElement} */ (dialog.querySelector('form')).onsubmit = (event) => event.preventDefault();
  const buttons = deeds(room, participant).map(({ name, text, danger, act }) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.dataset.deed = name;
    made.textContent = text;
    made.classList.toggle('danger', danger === true);
    made.addEventListener('click', () => {
      dialog.close();
      const work = act(input('person-reason').value.trim());
      if (work) run(work);
    });
    return made;
  });
  element('deeds').replaceChildren(...buttons);
  dialog.showModal();
}

/**
 * @param {Room} room
 * @param {RemoteParticipant} participant
 * @returns {Deed[]}
 */
function deeds({ people }, { identity, name, tracks, hand, moderator }) {
  const live = /** @param {string} source */ (source) => [...tracks.values()].find((track) => track.source === source && !track.muted);
  const [microphone, camera, screen] = ['microphone', 'camera', 'screen_share'].map(live);
  const kick = /** @param {string} reason */ async (reason) => {
    const answer = await confirmAction({ title: t('Remove {name}?', { name }), text: t('They may come in again, unless the room is locked or has a lobby.'), yes: t('Remove'), reason });
    if (answer) await people.kick(identity, answer.reason);
  };
  const ban = /** @param {string} reason */ async (reason) => {
    const answer = await confirmAction({ title: t('Ban {name}?', { name }), text: t('They are sent away and cannot come in again for this time. The ban can be lifted.'), yes: t('Ban'), reason, times: true });
    if (answer) await people.ban(identity, answer.seconds, answer.reason);
  };
  /** @type {(Deed | false | undefined)[]} */
  const all = [
    microphone && { name: 'mute', text: t('Mute the microphone'), act: (reason) => people.muteTrack(microphone.id, reason) },
    screen && { name: 'stop-screen', text: t('Stop the screen share'), act: (reason) => people.stopTrack(screen.id, reason) },
    camera && { name: 'stop-camera', text: t('Turn the camera off'), act: (reason) => people.stopTrack(camera.id, reason) },
    hand > 0 && { name: 'lower-hand', text: t('Take the hand down'), act: (reason) => people.lowerHand(identity, reason) },
    { name: 'watch-only', text: t('Only watch and listen'), act: (reason) => people.setPermissions(identity, { can_publish: false, can_publish_data: false }, reason) },
    { name: 'take-part', text: t('Speak, show and write'), act: (reason) => people.setPermissions(identity, { can_publish: true, can_publish_data: true }, reason) },
    moderator
      ? { name: 'demote', text: t('Take the moderator’s role'), act: (reason) => people.setModerator(identity, false, reason) }
      : { name: 'promote', text: t('Make a moderator'), act: (reason) => people.setModerator(identity, true, reason) },
    { name: 'kick', text: t('Remove…'), danger: true, act: kick },
    { name: 'ban', text: t('Ban…'), danger: true, act: ban },
  ];
  return all.filter((deed) => deed !== undefined && deed !== false);
}

/** Answers the question that was asked last. */
let settle = () => {};

/**
 * Asks before something that others feel.
 * @param {{title: string, text: string, yes: string, reason?: string, times?: boolean}} question
 * @returns {Promise<{reason: string, seconds: number} | null>} null: not after all
 */
export function confirmAction({ title, text, yes, reason = '', times = false }) {
  const dialog = /** @type {HTMLDialogElement} */ (element('confirm'));
  // Its event comes with the next frame, which may be too late.
  settle();
  element('confirm-title').textContent = title;
  element('confirm-text').textContent = text;
  button('confirm-yes').textContent = yes;
  input('confirm-reason').value = reason;
  element('confirm-times').hidden = !times;
  dialog.returnValue = '';
  button('confirm-no').onclick = () => dialog.close();
  dialog.showModal();
  return new Promise((resolve) => {
    settle = () => {
      const answer = { reason: input('confirm-reason').value.trim(), seconds: Number(select('ban-seconds').value) };
      resolve(dialog.returnValue === 'yes' ? answer : null);
    };
    dialog.onclose = () => {
      if (!dialog.open) settle();
    };
  });
}
