/** Chat, presence and moderation as people see them: a moderator in Chromium, and for a while in Firefox, and members in Firefox. */
import assert from 'node:assert/strict';
import { scene } from './lib/scene.mjs';
import { until } from './lib/until.mjs';

const people = scene();
let chromium;
let ada;
let bob;
let eve;

/** What a page shows of the chat. */
const chatOf = (person) => person.page.$$eval('#messages li', (items) => items.map((item) => ({ text: item.querySelector('p').textContent, private: item.classList.contains('private') })));
const textOf = (person, selector) => person.page.$eval(selector, (element) => (element.closest('[hidden]') ? '' : element.textContent));
const shows = (person, selector, pattern) =>
  until(`${person.name} to be told ${pattern}`, async () => {
    const text = await textOf(person, selector).catch(() => '');
    return pattern.test(text) || { error: text };
  });
const stateOf = (person, state) => until(`${person.name} to be ${state}`, async () => (await person.page.evaluate(() => document.body.dataset.state)) === state);
const identityOf = (person) => person.page.evaluate(() => window.switchyard.room.identity);

/** Writes in the panel, as a person does. */
async function write(person, text, to = '') {
  await person.page.select('#chat-to', to);
  await person.page.type('#chat-text', text);
  await person.page.keyboard.press('Enter');
  await until('the message to be sent', () => person.page.$eval('#chat-text', ({ value }) => value === ''));
}

const lastMessage = (person, text) => until(`${person.name} to read ${text}`, async () => (await chatOf(person)).at(-1)?.text === text);

/** A moderator does something with somebody by the dialog. */
async function moderate(person, other, deed, reason = '') {
  await person.page.evaluate((identity) => document.querySelector(`#roster-list li[data-identity="${identity}"] button`).click(), await identityOf(other));
  await person.page.$eval('#person-reason', (input, value) => (input.value = value), reason);
  await person.page.evaluate((name) => document.querySelector(`#deeds [data-deed="${name}"]`).click(), deed);
}

/** Says yes to the question that was asked. */
async function confirm(person, reason = '') {
  await person.page.waitForSelector('#confirm[open]');
  await person.page.$eval('#confirm-reason', (input, value) => (input.value = value), reason);
  await person.click('confirm-yes');
}

people.test('what is said is read by all, also by who comes late, and in private only by those it is for', async () => {
  chromium = await people.browser();
  const firefox = await people.browser('firefox');
  const query = '&cam=0';
  ada = await people.join(chromium, 'talk', 0, { query });
  bob = await people.join(firefox, 'talk', 1, { query });
  // Where the sign of the connection is behind “More”, that button has its colour.
  await until('the connection on the button', () => ada.page.$eval('#more', ({ dataset }) => ['good', 'fair', 'poor'].includes(dataset.level) || { error: dataset.level }));
  await ada.page.keyboard.press('c');
  assert.match(await textOf(ada, '#chat-empty'), /Nothing was said yet/);
  await ada.page.type('#chat-text', 'See https://example.org/a?b=c. <b>Not bold</b>');
  await until('the typing to be seen', async () => /P0 writes/.test(await bob.page.$eval('#chat-typing', ({ textContent }) => textContent)));
  await ada.page.keyboard.press('Enter');
  await until('the badge', async () => (await textOf(bob, '#unread')) === '1');
  assert.match(await bob.page.$eval('#toggle-chat', (element) => element.getAttribute('aria-label')), /1 new message/);
  assert.match(await bob.page.$eval('#live', ({ textContent }) => textContent), /P0: See https/);
  await bob.click('toggle-chat');
  assert.equal(await textOf(bob, '#unread'), '');
  const link = await bob.page.$eval('#messages a', ({ href, rel, textContent }) => ({ href, rel, textContent }));
  assert.deepEqual(link, { href: 'https://example.org/a?b=c', rel: 'noopener noreferrer nofollow', textContent: 'https://example.org/a?b=c' });
  assert.equal(await bob.page.$('#messages b'), null, 'text is text');
  // In a Firefox of its own: a tab in the background stands still.
  eve = await people.join(await people.browser('firefox'), 'talk', 2, { query });
  await eve.click('toggle-chat');
  await lastMessage(eve, 'See https://example.org/a?b=c. <b>Not bold</b>');
  await write(ada, 'psst', await identityOf(bob));
  await write(ada, 'all again');
  for (const person of [bob, eve]) await lastMessage(person, 'all again');
  assert.deepEqual((await chatOf(eve)).map(({ text }) => text.slice(0, 9)), ['See https', 'all again']);
  assert.deepEqual((await chatOf(bob)).map((message) => message.private), [false, true, false]);
});

people.test('a message is deleted by its author and by the moderator, and a member has no button for others', async () => {
  await write(bob, 'by bob');
  await lastMessage(ada, 'by bob');
  await lastMessage(eve, 'by bob');
  assert.equal((await eve.page.$$('#messages button')).length, 0);
  await ada.page.$eval('#messages li:last-child button', (element) => element.click());
  await confirm(ada, 'off topic');
  for (const person of [ada, bob, eve]) await lastMessage(person, 'all again');
  await shows(bob, '#toasts', /P0 deleted a message of yours\. Reason: off topic/);
  assert.doesNotMatch(await textOf(eve, '#toasts'), /deleted/);
  await write(bob, 'taken back');
  await bob.page.$eval('#messages li:last-child button', (element) => element.click());
  for (const person of [bob, eve]) await lastMessage(person, 'all again');
});

people.test('a raised hand comes first in the list, and a reaction is seen for a moment', async () => {
  await ada.click('toggle-people');
  await bob.page.$eval('#raise-hand', (element) => element.click());
  await until('the hand', async () => (await ada.page.$('#roster-list li:first-child .sign.hand')) !== null);
  assert.match(await textOf(ada, '#roster-list li:first-child'), /P1/);
  assert.equal(await ada.page.$eval(`${ada.tileOf(bob)} .hand`, ({ hidden }) => hidden), false);
  await bob.page.evaluate(() => window.switchyard.room.people.react('👏'));
  await until('the reaction', async () => (await ada.page.$(`${ada.tileOf(bob)} .reaction`)) !== null);
});

people.test('a moderator mutes and makes moderators, members cannot, and they are told in words', async () => {
  assert.equal(await bob.page.$eval('#moderation', ({ hidden }) => hidden), true);
  await until('the microphone', () => ada.page.evaluate((id) => [...window.switchyard.room.participants.get(id).tracks.values()].some(({ source }) => source === 'microphone'), bob.id));
  await moderate(ada, bob, 'mute', 'there is an echo');
  await shows(bob, '#toasts', /P0 muted your microphone.*echo/);
  await until('the button to say so', () => bob.page.$eval('#toggle-mic', (element) => !element.classList.contains('on')));
  await moderate(ada, bob, 'lower-hand');
  await until('the hand to be down', async () => (await ada.page.$('#roster-list .sign.hand')) === null);
  const refused = await eve.page.evaluate((identity) => window.switchyard.room.people.kick(identity).catch(({ code }) => code), await identityOf(bob));
  assert.equal(refused, 'not_allowed');
  await moderate(ada, bob, 'promote');
  await shows(bob, '#toasts', /made you a moderator/);
  await bob.click('toggle-people');
  assert.equal(await bob.page.$eval('#moderation', ({ hidden }) => hidden), false);
  await moderate(ada, bob, 'demote');
  await until('the end of the role', () => bob.page.$eval('#moderation', ({ hidden }) => hidden));
});

people.test('whoever may only watch has nothing to send with, until a moderator lets them take part', async () => {
  const hidden = (id) => bob.page.$eval(`#${id}`, (element) => element.hidden);
  await moderate(ada, bob, 'watch-only');
  await until('the buttons to be gone', async () => (await hidden('toggle-mic')) && (await hidden('toggle-camera')));
  await until('the microphone to be gone', () => ada.page.evaluate((id) => window.switchyard.room.participants.get(id).tracks.size === 0, bob.id));
  await moderate(ada, bob, 'take-part');
  await until('the buttons to be back', async () => !(await hidden('toggle-mic')) && !(await hidden('toggle-camera')));
  await bob.click('toggle-camera');
  await ada.sees(bob);
  await bob.click('toggle-mic');
  await ada.hears(bob);
  await bob.click('toggle-camera');
});

people.test('a screen goes whole, with its sound: when a moderator stops it, and when one of both is refused', async () => {
  /** Sources of Eve's tracks, at herself and at Ada. */
  const sources = async () => {
    const [own, seen] = await Promise.all([
      eve.page.evaluate(() => [...window.switchyard.room.localTracks].map(({ source }) => source)),
      ada.page.evaluate((id) => [...window.switchyard.room.participants.get(id).tracks.values()].map(({ source }) => source), eve.id),
    ]);
    return [own, seen].map((all) => all.filter((source) => source.startsWith('screen')).length);
  };
  const are = (count) =>
    until(`${count} tracks of the screen`, async () => {
      const found = await sources();
      return found.every((one) => one === count) || { error: found };
    });
  await eve.page.evaluate(() => {
    const { getDisplayMedia, getUserMedia } = navigator.mediaDevices;
    navigator.mediaDevices.getDisplayMedia = async () => {
      const [screen, sound] = [await getDisplayMedia(), await getUserMedia({ audio: true })];
      return (window.screenTracks = new MediaStream([...screen.getTracks(), ...sound.getTracks()]));
    };
  });
  const stopped = () => eve.page.evaluate(() => window.screenTracks.getTracks().every(({ readyState }) => readyState === 'ended'));
  await eve.click('toggle-screen');
  await are(2);
  await moderate(ada, eve, 'stop-screen');
  await are(0);
  await until('the devices to be let go', stopped);
  await eve.page.evaluate(() => {
    const { room } = window.switchyard;
    const { publish } = room;
    room.publish = (track, options) => (options.source === 'screen_share_audio' ? Promise.reject(new Error('No sound.')) : publish.call(room, track, options));
  });
  await eve.click('toggle-screen');
  await shows(eve, '#toasts', /No sound/);
  await are(0);
  assert.equal(await stopped(), true);
  assert.equal(await eve.page.$eval('#toggle-screen', (element) => element.classList.contains('on')), false);
});

people.test('all are muted, a camera is turned off, the room is locked and open again, and each of it is told with its reason', async () => {
  const isOn = (id) => bob.page.$eval(`#${id}`, (element) => element.classList.contains('on'));
  assert.equal(await isOn('toggle-mic'), true);
  await ada.click('mute-all');
  await confirm(ada, 'a minute of silence');
  await shows(bob, '#toasts', /P0 muted everybody.*a minute of silence/);
  await until('the microphone to be off', async () => !(await isOn('toggle-mic')));
  await bob.click('toggle-camera');
  await until('the camera', () => ada.page.evaluate((id) => [...window.switchyard.room.participants.get(id).tracks.values()].some(({ source }) => source === 'camera'), bob.id));
  await moderate(ada, bob, 'stop-camera', 'too dark');
  await shows(bob, '#toasts', /P0 turned your camera off.*too dark/);
  await until('the camera to be off', async () => !(await isOn('toggle-camera')));
  await ada.page.$eval('#room-reason', (input) => (input.value = 'we are complete'));
  await ada.page.$eval('#lock-room', (element) => element.click());
  await shows(bob, '#toasts', /P0 locked the room.*we are complete/);
  const late = await people.open(chromium, '/?room=talk&name=Late&autojoin=1', { index: 3 });
  await shows(late, '#prejoin-notice', /The room is locked/);
  await ada.page.$eval('#lock-room', (element) => element.click());
  await shows(bob, '#toasts', /P0 opened the room again/);
  await late.page.reload();
  await stateOf(late, 'connected');
  await late.page.close();
});

people.test('whoever is away says so, and the role of the moderator goes to somebody else and back', async () => {
  const row = async () => textOf(ada, `#roster-list li[data-identity="${await identityOf(bob)}"]`);
  await bob.page.$eval('#away', (element) => element.click());
  await until('Away in the list', async () => /Away/.test(await row()) || { error: await row() });
  await bob.page.$eval('#away', (element) => element.click());
  await until('to be back', async () => !/Away/.test(await row()));
  for (const [from, to] of [[ada, bob], [bob, ada]]) {
    await until('nobody else to give it to', () => from.page.$eval('#give-up', ({ disabled }) => disabled));
    await moderate(from, to, 'promote');
    await until('somebody else', () => from.page.$eval('#give-up', ({ disabled }) => !disabled));
    await from.page.$eval('#give-up', (element) => element.click());
    await confirm(from);
    await until('the role to be there', () => to.page.$eval('#moderation', ({ hidden }) => !hidden));
    await until('the role to be gone', () => from.page.$eval('#moderation', ({ hidden }) => hidden));
  }
});

people.test('whoever is renamed is called so on their own page, and goes on writing', async () => {
  await ada.page.evaluate((identity) => window.switchyard.room.people.update({ identity, name: 'Robert' }), await identityOf(bob));
  await until('the name on the own tile', async () => /Robert \(you\)/.test(await textOf(bob, '#tiles')));
  await bob.page.evaluate(() => {
    const text = document.querySelector('#chat-text');
    text.value = 'first';
    document.querySelector('#chat-form').requestSubmit();
    text.value = 'second';
  });
  await lastMessage(ada, 'first');
  await until('the message to be sent', () => bob.page.$eval('#chat-send', ({ disabled }) => !disabled));
  assert.equal(await bob.page.$eval('#chat-text', ({ value }) => value), 'second');
  await bob.page.$eval('#chat-text', (text) => (text.value = ''));
});

people.test('Enter in the field of a reason does nothing with anybody', async () => {
  await ada.page.evaluate((identity) => document.querySelector(`#roster-list li[data-identity="${identity}"] button`).click(), await identityOf(bob));
  await ada.page.type('#person-reason', 'noise');
  await ada.page.keyboard.press('Enter');
  assert.equal(await ada.page.$eval('#person', ({ open }) => open), true);
  await ada.click('close-person');
  assert.equal(await ada.page.$eval('#person', ({ open }) => open), false);
});

people.test('whoever is removed is told why, knocks in the lobby, is denied, knocks again and is let in', async () => {
  await moderate(ada, eve, 'kick', 'spam');
  await ada.page.waitForSelector('#confirm[open]');
  assert.match(await textOf(ada, '#confirm-title'), /Remove P2\?/);
  await ada.click('confirm-yes');
  await stateOf(eve, 'closed');
  assert.match(await textOf(eve, '#ended-message'), /removed from this room by P0\. Reason: spam/);
  await ada.page.$eval('#use-lobby', (element) => element.click());
  await shows(bob, '#toasts', /P0 opened a lobby/);
  await eve.click('rejoin');
  await stateOf(eve, 'waiting');
  assert.match(await textOf(eve, '#waiting-message'), /A moderator .* You are next/);
  await shows(ada, '#knocks', /P2/);
  assert.equal(await bob.page.$('#knocks li'), null, 'for moderators only');
  await ada.page.$eval('#knocks button:last-child', (element) => element.click());
  await ada.page.waitForSelector('#confirm[open]');
  await ada.click('confirm-yes');
  await stateOf(eve, 'closed');
  assert.match(await textOf(eve, '#ended-title'), /not let in/);
  await until('the question to be gone', () => ada.page.$$eval('.toast', (toasts) => toasts.every(({ textContent }) => !/waits in the lobby/.test(textContent))));
  await eve.click('rejoin');
  await stateOf(eve, 'waiting');
  await until('the knock', async () => (await ada.page.$('#knocks li')) !== null);
  await ada.page.$eval('#knocks .primary', (element) => element.click());
  await stateOf(eve, 'connected');
  await until('the lobby to be empty', () => ada.page.$eval('#lobby', ({ hidden }) => hidden));
  await ada.page.$eval('#use-lobby', (element) => element.click());
});

people.test('a question that is asked again at once is not answered by the end of the first', async () => {
  const askTwice = async () => {
    const { confirmAction } = await import('/person-dialog.js');
    const question = { title: 'Sure?', text: '', yes: 'Yes' };
    const first = confirmAction(question);
    document.querySelector('#confirm').close();
    const answer = confirmAction({ ...question, reason: 'noise' });
    // By then the event of the first end has come.
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    document.querySelector('#confirm-yes').click();
    return [await first, (await answer)?.reason];
  };
  assert.deepEqual(await ada.page.evaluate(askTwice), [null, 'noise']);
});

people.test('a ban survives a reload, and can be lifted', async () => {
  await moderate(ada, eve, 'ban', 'spam again');
  await ada.page.waitForSelector('#confirm[open]');
  await ada.click('confirm-yes');
  await stateOf(eve, 'closed');
  assert.match(await textOf(eve, '#ended-message'), /banned from this room by P0 for 60 minutes\. Reason: spam again/);
  await eve.page.reload();
  await shows(eve, '#prejoin-notice', /You are banned from this room/);
  await ada.page.$eval('#banned', (element) => (element.open = true));
  await until('the ban in the list', async () => (await ada.page.$('#bans button')) !== null);
  // By name, with the identity beside it, which is not what people call each other.
  const identity = await ada.page.$eval('#bans li', (item) => item.dataset.identity);
  assert.match(await textOf(ada, '#bans .roster-name'), new RegExp(`^P2(60|59) min yet · spam again${identity}$`));
  await ada.page.$eval('#bans button', (element) => element.click());
  await shows(ada, '#bans', /Nobody is banned/);
  await eve.page.reload();
  await stateOf(eve, 'connected');
});

people.test('the end is the end for all', async () => {
  await ada.page.$eval('#end-room', (element) => element.click());
  await ada.page.waitForSelector('#confirm[open]');
  await ada.page.type('#confirm-reason', 'see you');
  await ada.page.keyboard.press('Enter');
  for (const person of [ada, bob, eve]) {
    await stateOf(person, 'closed');
    assert.match(await textOf(person, '#ended-message'), /closed by P0\. Reason: see you/);
  }
});
