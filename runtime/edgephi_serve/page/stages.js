// Where the time of a reply goes: bars while it is made, from the stream's comments; then what the server measured.

import { el } from './dom.js';
import { count, seconds } from './format.js';

const STAGES = ['queue', 'load', 'preprocess', 'encode', 'prefill', 'decode'];
const SPELLED = { queued: 'queue', waiting: 'queue' };

/** The bars of a reply that is being made. */
export class StageBars {
  #rows = new Map();
  #now = null;
  #since = 0;
  #timer;

  constructor() {
    this.node = el('div', { class: 'stages', role: 'progressbar', 'aria-label': 'Progress of the reply', 'aria-valuetext': 'sent' });
    this.#timer = setInterval(() => this.#tick(), 500);
  }

  /** A comment of the stream: `encode 3/8`. */
  update({ stage, done, total }) {
    const name = SPELLED[stage] ?? stage;
    if (!STAGES.includes(name)) return;
    const row = this.#enter(name);
    if (name === 'queue') row.figure.textContent = done ? `${count(done, 'request')} before this one` : '';
    else if (total) {
      row.figure.textContent = `${done.toLocaleString('en')} of ${total.toLocaleString('en')}`;
      row.fill.style.transform = `scaleX(${Math.min(1, done / total)})`;
      row.counted = true;
    }
    this.node.setAttribute('aria-valuetext', `${name} ${row.figure.textContent}`.trim());
  }

  /** Text arrives: everything before is done. */
  decoding() {
    if (this.#now !== 'decode') this.#enter('decode');
  }

  end() {
    clearInterval(this.#timer);
    this.node.remove();
  }

  #enter(name) {
    if (this.#now !== name) {
      if (this.#rows.has(this.#now)) this.#leave(this.#rows.get(this.#now));
      this.#now = name;
      this.#since = performance.now();
    }
    if (!this.#rows.has(name)) this.#rows.set(name, this.#add(name));
    const row = this.#rows.get(name);
    row.node.className = 'stage now';
    return row;
  }

  #leave(row) {
    row.node.className = 'stage done';
    row.figure.textContent = seconds((performance.now() - this.#since) / 1000);
    row.fill.style.transform = '';
  }

  #add(name) {
    const fill = el('span', { class: 'fill' });
    const figure = el('span', { class: 'figure' });
    const node = el('div', {}, el('span', { class: 'name' }, name), el('span', { class: 'track' }, fill), figure);
    const after = [...this.#rows.keys()].find((other) => STAGES.indexOf(other) > STAGES.indexOf(name));
    if (after) this.#rows.get(after).node.before(node);
    else this.node.append(node);
    return { node, figure, fill, counted: false };
  }

  #tick() {
    const row = this.#rows.get(this.#now);
    if (row && !row.counted && this.#now !== 'queue') row.figure.textContent = seconds((performance.now() - this.#since) / 1000);
  }
}

/** One line, and a bar of its parts, of what the server measured: the last chunk's `edgephi.timing` and `usage`. */
export function measured(timing, usage) {
  const parts = STAGES.map((name) => [name, timing[`${name}_s`] ?? 0]).filter(([, time]) => time >= 0.005);
  const bar = el('span', { class: 'parts', 'aria-hidden': 'true' }, parts.map(([name, time]) => {
    const part = el('span', { class: `part ${name}` });
    part.style.flexGrow = time;
    return part;
  }));
  const words = parts.map(([name, time]) => el('span', { class: `key ${name}` }, `${name} ${seconds(time)}`));
  const tokens = usage?.completion_tokens;
  const rate = tokens > 1 && timing.decode_s > 0 ? (tokens - 1) / timing.decode_s : null;
  if (tokens) words.push(el('span', {}, count(tokens, 'token') + (rate ? `, ${rate < 10 ? rate.toFixed(1) : Math.round(rate)} per second` : '')));
  if (timing.ttft_s > 0) words.push(el('span', {}, `first after ${seconds(timing.ttft_s)}`));
  const cached = usage?.prompt_tokens_details?.cached_tokens;
  if (cached) words.push(el('span', {}, `${cached.toLocaleString('en')} of ${count(usage.prompt_tokens, 'prompt token')} cached`));
  return el('div', { class: 'measured' }, bar, el('p', {}, words));
}
