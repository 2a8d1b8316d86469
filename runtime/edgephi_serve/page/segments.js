// The segments of a transcript on the page: play from one, edit its text, see where the model was unsure.

import { el } from './dom.js';
import { clock } from './format.js';

const UNSURE = -0.7; // average log probability of a token
const GAP = '[...]';

export class SegmentList {
  segments = [];
  #rows = [];

  /** @param {HTMLElement} list @param {HTMLMediaElement} player @param {() => void} onChange called when a text was edited */
  constructor(list, player, onChange) {
    Object.assign(this, { list, player, onChange });
    this.live = el('li', { class: 'segment live', hidden: true }, el('span', { class: 'time' }), el('p', { dir: 'auto' }));
    list.replaceChildren(this.live);
    player.ontimeupdate = () => this.#mark();
  }

  /** Text of the segment that is being transcribed. */
  delta(text) {
    this.live.hidden = false;
    this.live.lastChild.append(text);
  }

  /** A segment is complete: {start, end, text, avg_logprob?}. */
  add(segment) {
    const kept = { ...segment, text: segment.text.trim() };
    this.segments.push(kept);
    const row = this.#row(kept);
    this.#rows.push(row);
    this.live.before(row);
    this.endLive();
  }

  endLive() {
    this.live.hidden = true;
    this.live.lastChild.replaceChildren();
  }

  #row(segment) {
    const { start, text } = segment;
    const time = el('button', { type: 'button', class: 'time', title: 'Play from here', 'aria-label': `Play from ${clock(start)}`, onclick: () => this.#play(start) }, clock(start));
    if (text === GAP) return el('li', { class: 'segment gap' }, time, el('p', {}, 'not understood'));
    const unsure = segment.avg_logprob !== undefined && segment.avg_logprob !== null && segment.avg_logprob < UNSURE;
    const edit = el('div', { contentEditable: 'plaintext-only', role: 'textbox', tabIndex: 0, dir: 'auto', spellcheck: false,
      'aria-label': `Text at ${clock(start)}${unsure ? ', the model was unsure' : ''}`, class: unsure ? 'unsure' : '', title: unsure ? 'The model was unsure here' : '',
      oninput: () => {
        segment.text = edit.textContent;
        this.onChange();
      },
      onkeydown: (event) => {
        if (event.key === 'Enter') event.preventDefault();
        if (event.key === 'Escape') edit.blur();
      } }, text);
    return el('li', { class: 'segment' }, time, edit);
  }

  #play(start) {
    this.player.currentTime = start;
    this.player.play().catch(() => {});
  }

  #mark() {
    const now = this.player.currentTime;
    this.segments.forEach(({ start, end }, i) => this.#rows[i].classList.toggle('playing', !this.player.paused && start <= now && now < end));
  }
}
