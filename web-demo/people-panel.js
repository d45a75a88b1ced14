/**
 * @module
 * Who is here and how: hands, roles, who waits. Moderators find here what they may do; nobody else is shown it.
 */
import { confirmAction, personDialog } from './person-dialog.js';
import { button, element, icon, input, label } from './dom.js';
import { announce, toast } from './notices.js';
import { duration, toldOfOthers, toldToUs, withReason } from './words.js';
import { t } from './language.js';

/** @typedef {import('./client/index.js').Room} Room */
/** @typedef {import('./client/index.js').RemoteParticipant} RemoteParticipant */
/** @typedef {{id: string, identity: string, name: string, own: boolean, moderator: boolean, hand: number, status: string, reconnecting: boolean, micOff: boolean}} Row */

const REACTIONS = ['👍', '👏', '❤️', '😂', '🎉'];

export class PeoplePanel {
  #room;
  #changed;
  #stop;
  #locked;
  #lobby;
  /** Questions whether to let somebody in, by identity: what takes them away. @type {Map<string, () => void>} */
  #asked = new Map();

  /**
   * @param {Room} room
   * @param {() => void} changed who waits, or our own hand
   */
  constructor(room, changed) {
    this.#room = room;
    this.#changed = changed;
    this.#locked = room.people.locked;
    this.#lobby = room.people.lobby;
    const refresh = () => this.#show();
    const events = /** @type {const} */ (['participantjoined', 'participantleft', 'participantupdated', 'trackpublished', 'trackunpublished', 'trackmuted', 'localtrackupdated']);
    this.#stop = [
      ...events.map((type) => room.on(type, refresh)),
      room.people.on('changed', () => this.#showRoom()),
      room.people.on('knock', (waiting) => this.#tellKnock(waiting)),
      room.people.on('moderated', (done) => this.#tell(done)),
    ];
    this.#wire();
    this.#show();
  }

  close() {
    for (const stop of this.#stop) stop();
    for (const drop of this.#asked.values()) drop();
    element('roster-list').replaceChildren();
    element('knocks').replaceChildren();
  }

  #wire() {
    const { people } = this.#room;
    button('raise').onclick = () => this.#do(people.raiseHand(people.hand === 0));
    button('away').onclick = () => this.#do(people.setStatus(people.status === 'away' ? '' : 'away'));
    input('lock-room').onchange = () => this.#do(people.updateRoom({ locked: input('lock-room').checked }, this.#takeReason()));
    input('use-lobby').onchange = () => this.#do(people.updateRoom({ lobby: input('use-lobby').checked }, this.#takeReason()));
    button('give-up').onclick = () =>
      void this.#confirm(t('Give up the moderator’s role?'), t('Only another moderator can give it back to you.'), t('Give up'), (reason) => people.setModerator(this.#room.identity, false, reason));
    button('mute-all').onclick = () => void this.#confirm(t('Mute everybody?'), t('They can turn their microphones on again. Moderators speak on.'), t('Mute all'), (reason) => people.muteAll(reason));
    button('end-room').onclick = () =>
      void this.#confirm(t('End the meeting for everybody?'), t('Everybody is sent away, you too.'), t('End for all'), (reason) => people.endRoom(reason).catch(() => undefined));
    element('reactions').replaceChildren(...REACTIONS.map((reaction) => action(reaction, t('React with {reaction}', { reaction }), () => this.#do(people.react(reaction)))));
    const bans = /** @type {HTMLDetailsElement} */ (element('banned'));
    bans.ontoggle = () => bans.open && void this.#showBans();
  }

  /** @param {Promise<unknown>} work */
  #do(work) {
    work.catch((error) => toast(error.message)).finally(() => this.#show());
  }

  /**
   * @param {string} title
   * @param {string} text
   * @param {string} yes
   * @param {(reason: string) => Promise<unknown>} act
   */
  async #confirm(title, text, yes, act) {
    const answer = await confirmAction({ title, text, yes });
    if (answer) this.#do(act(answer.reason));
  }

  /** What stands beside the switches; it is for one of them. */
  #takeReason() {
    const reason = input('room-reason').value.trim();
    input('room-reason').value = '';
    return reason || undefined;
  }

  /** @param {string} by empty: we did it @param {string | undefined} reason */
  #tellRoom(by, reason) {
    const { locked, lobby } = this.#room.people;
    if (by && locked !== this.#locked) toast(withReason(locked ? t('{by} locked the room: nobody new is let in.', { by }) : t('{by} opened the room again.', { by }), reason));
    if (by && lobby !== this.#lobby) toast(withReason(lobby ? t('{by} opened a lobby: whoever is new waits there until a moderator lets them in.', { by }) : t('{by} closed the lobby: whoever is new comes in at once.', { by }), reason));
    [this.#locked, this.#lobby] = [locked, lobby];
  }

  #showRoom() {
    for (const [identity, drop] of this.#asked) {
      if (this.#room.people.waiting.some((one) => one.identity === identity)) continue;
      drop();
      this.#asked.delete(identity);
    }
    this.#show();
    this.#changed();
  }

  #show() {
    const { people, participants } = this.#room;
    const rows = this.#rows();
    element('roster-title').textContent = t('People ({count})', { count: participants.size + 1 });
    keepFocus(element('roster-list'), rows.map((row) => this.#row(row)));
    button('raise').textContent = people.hand > 0 ? t('Take your hand down') : t('Raise your hand');
    button('away').textContent = people.status === 'away' ? t('I am back') : t('Away');
    element('moderation').hidden = !people.moderator;
    const alone = ![...participants.values()].some(({ moderator }) => moderator);
    button('give-up').disabled = alone;
    button('give-up').title = alone ? t('Make somebody else a moderator first.') : '';
    element('lobby').hidden = people.waiting.length === 0;
    keepFocus(element('knocks'), people.waiting.map((waiting) => this.#knock(waiting)));
    input('lock-room').checked = people.locked;
    input('use-lobby').checked = people.lobby;
  }

  /** Hands first, in their order; then ourselves, then the others by name. @returns {Row[]} */
  #rows() {
    const { people, participants, participantId, identity, name, localTracks } = this.#room;
    const micOff = /** @param {Iterable<{source: string, muted: boolean}>} tracks */ (tracks) => ![...tracks].some(({ source, muted }) => source === 'microphone' && !muted);
    const own = { id: participantId, identity, name, own: true, moderator: people.moderator, hand: people.hand, status: people.status, reconnecting: false, micOff: micOff(localTracks) };
    const others = [...participants.values()].map((other) => ({
      id: other.id,
      identity: other.identity,
      name: other.name,
      own: false,
      moderator: other.moderator,
      hand: other.hand,
      status: other.status,
      reconnecting: other.state === 'reconnecting',
      micOff: micOff(other.tracks.values()),
    }));
    const order = /** @param {Row} row */ (row) => row.hand || Infinity;
    return [own, ...others.sort((a, b) => a.name.localeCompare(b.name))].sort((a, b) => (order(a) === order(b) ? 0 : order(a) - order(b)));
  }

  /** @param {Row} row */
  #row(row) {
    const item = document.createElement('li');
    item.dataset.identity = row.identity;
    const name = document.createElement('span');
    name.className = 'roster-name';
    name.textContent = row.own ? t('{name} (you)', { name: row.name }) : row.name;
    const marks = document.createElement('span');
    marks.className = 'marks';
    if (row.hand > 0) marks.append(sign('hand', t('Hand raised')));
    if (row.moderator) marks.append(mark(t('Moderator')));
    if (row.status) marks.append(mark(row.status === 'away' ? t('Away') : row.status));
    if (row.reconnecting) marks.append(mark(t('Reconnecting')));
    if (row.micOff) marks.append(sign('mic-off', t('Microphone off')));
    item.append(name, marks);
    if (this.#room.people.moderator && !row.own) {
      const more = action('', t('Moderate {name}', { name: row.name }), () => {
        const participant = this.#room.participants.get(row.id);
        if (participant) personDialog(this.#room, participant, (work) => this.#do(work));
      });
      more.className = 'round tiny-button';
      more.append(icon('more'));
      item.append(more);
    }
    return item;
  }

  /** @param {{identity: string, name: string}} waiting */
  #knock({ identity, name }) {
    const { people } = this.#room;
    const item = document.createElement('li');
    item.dataset.identity = identity;
    const text = document.createElement('span');
    text.className = 'roster-name';
    text.textContent = name;
    const admit = action(t('Let in'), t('Let in {name}', { name }), () => this.#do(people.admit(identity)));
    admit.classList.add('primary');
    const deny = action(t('Deny'), t('Deny {name}', { name }), () => void this.#confirm(t('Do not let {name} in?', { name }), t('They may knock again.'), t('Deny'), (reason) => people.deny(identity, reason)));
    item.append(text, admit, deny);
    return item;
  }

  async #showBans() {
    const { people } = this.#room;
    const bans = await people.bans().catch(() => []);
    const items = bans.map(({ identity, name = identity, seconds, reason }) => {
      const item = document.createElement('li');
      item.dataset.identity = identity;
      const text = document.createElement('span');
      text.className = 'roster-name';
      const time = t('{time} yet', { time: duration(seconds) });
      text.append(name, hint(reason ? `${time} · ${reason}` : time));
      if (name !== identity) text.append(hint(identity));
      item.append(text, action(t('Lift'), t('Lift the ban of {name}', { name }), () => this.#do(people.unban(identity).then(() => this.#showBans()))));
      return item;
    });
    const none = document.createElement('li');
    none.textContent = t('Nobody is banned.');
    element('bans').replaceChildren(...(items.length > 0 ? items : [none]));
  }

  /** @param {{identity: string, name: string}} waiting */
  #tellKnock({ identity, name }) {
    this.#asked.get(identity)?.();
    this.#asked.set(identity, toast(t('{name} waits in the lobby.', { name }), { label: t('Let in'), act: () => this.#do(this.#room.people.admit(identity)) }));
  }

  /** @param {import('./client/protocol.js').Moderated} done */
  #tell(done) {
    const { identity, participants, localTracks } = this.#room;
    const nameOf = /** @param {string | undefined} who */ (who) => [...participants.values()].find((one) => one.identity === who)?.name ?? t('Somebody');
    const own = done.by === identity;
    const by = done.by === undefined ? t('A moderator') : nameOf(done.by);
    if (done.action === 'update_room') this.#tellRoom(own ? '' : by, done.reason);
    if (own) return;
    if (done.identity === identity) {
      const track = [...localTracks].find(({ id }) => id === done.track);
      const sentence = toldToUs(done, by, track?.source ?? 'screen_share');
      if (sentence) toast(sentence);
      return;
    }
    const sentence = toldOfOthers(done, by, nameOf(done.identity));
    if (done.action === 'mute_all') toast(sentence);
    else if (sentence) announce(sentence);
  }
}

/**
 * Puts new elements in place of old ones without taking the focus from who uses the keyboard.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} items
 */
function keepFocus(list, items) {
  const row = document.activeElement?.closest('li');
  const place = row && list.contains(row) ? [...row.querySelectorAll('button')].findIndex((one) => one === document.activeElement) : -1;
  list.replaceChildren(...items);
  // Two people may have one name.
  const again = items.find(({ dataset }) => dataset.identity === row?.dataset.identity);
  if (place >= 0) again?.querySelectorAll('button')[place]?.focus();
}

/** @param {string} text */
function mark(text) {
  const made = document.createElement('span');
  made.textContent = text;
  return made;
}

/**
 * @param {string} name of the icon
 * @param {string} spoken
 */
function sign(name, spoken) {
  const made = document.createElement('span');
  made.className = `sign ${name}`;
  made.append(icon(name));
  made.setAttribute('role', 'img');
  made.setAttribute('aria-label', spoken);
  return made;
}

/**
 * @param {string} text
 * @param {string} spoken
 * @param {() => void} act
 */
function action(text, spoken, act) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = text;
  label(made, spoken);
  made.addEventListener('click', act);
  return made;
}

/** @param {string} text less important than what it stands below */
function hint(text) {
  return Object.assign(document.createElement('span'), { className: 'hint', textContent: text });
}
