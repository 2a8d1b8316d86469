// Where the time of a reply goes: the stage it is in, from the stream's comments; then what the server measured.

import { el } from './dom.js';
import { count, seconds } from './format.js';

const STAGES = ['queue', 'preprocess', 'load', 'encode', 'prefill', 'decode'];
const SPELLED = { queued: 'queue', waiting: 'queue' };

/** The stage of a reply that is being made. */
export class StageBar {
  bar = el('progress', { 'aria-label': 'Progress of the reply' });
  now = el('span', {}, 'sent');
  node = el('p', { class: 'stages' }, this.bar, this.now);

  /** A comment of the stream: `queued 2`, `encode 3/8`. `decode`: text arrives. */
  update({ stage, done, total }) {
    const name = SPELLED[stage] ?? stage;
    if (!STAGES.includes(name)) return;
    let figure = total > 1 ? `${done.toLocaleString('en')} of ${total.toLocaleString('en')}` : '';
    if (name === 'queue' && done) figure = `${count(done, 'request')} before this one`;
    this.now.textContent = `${name} ${figure}`;
    if (total) this.bar.value = done / total;
    else this.bar.removeAttribute('value');
  }
}

/** One line, and a bar of its parts, of what the server measured: the last event's `edgephi.timing` and `usage`. */
export function measured(timing, usage) {
  const parts = STAGES.map((name) => [name, timing[`${name}_s`] ?? 0]).filter(([, time]) => time >= 0.005);
  const bar = parts.map(([name, time]) => {
    const part = el('span', { class: `part ${name}` });
    part.style.flexGrow = time * 1000; // shares of the whole only if they sum to more than 1
    return part;
  });
  const words = parts.map(([name, time]) => el('span', { class: `key ${name}` }, `${name} ${seconds(time)}`));
  const { completion_tokens: made, prompt_tokens: prompt, prompt_tokens_details: details } = usage ?? {};
  const rate = (made - 1) / timing.decode_s;
  if (made) words.push(count(made, 'token') + (rate > 0 && rate < Infinity ? `, ${rate.toFixed(rate < 10 ? 1 : 0)} per second` : ''));
  if (timing.ttft_s) words.push(`first after ${seconds(timing.ttft_s)}`);
  if (details?.cached_tokens) words.push(`${details.cached_tokens.toLocaleString('en')} of ${count(prompt, 'prompt token')} cached`);
  return el('div', { class: 'measured' }, el('div', { class: 'parts', 'aria-hidden': 'true' }, bar), el('p', {}, words.map((word) => el('span', {}, word))));
}
