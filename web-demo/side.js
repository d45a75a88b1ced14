/**
 * @module
 * The panels beside the tiles: at most one is open. On a phone it lies over them.
 */
import { button, element } from './dom.js';

/** @typedef {'chat' | 'roster'} PanelName */

export class Side {
  /** @type {PanelName | ''} */
  open = '';
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
    button('close-chat').onclick = () => this.toggle('chat');
    button('close-roster').onclick = () => this.toggle('roster');
    element('side').onkeydown = (event) => {
      if (event.key !== 'Escape' || !this.open) return;
      event.stopPropagation();
      this.toggle(this.open);
    };
    this.#show('');
  }

  /** Opens the panel with the focus where it is used, or closes it with the focus back on its button. @param {PanelName} name */
  toggle(name) {
    const closes = this.open === name;
    this.#show(closes ? '' : name);
    if (closes) button(name === 'chat' ? 'toggle-chat' : 'toggle-people').focus();
    else if (name === 'chat') element('chat-text').focus();
    else element('roster-title').focus();
    this.#changed();
  }

  close() {
    this.#show('');
  }

  /** @param {PanelName | ''} name */
  #show(name) {
    this.open = name;
    element('side').hidden = name === '';
    for (const panel of /** @type {const} */ (['chat', 'roster'])) element(panel).hidden = panel !== name;
  }
}
