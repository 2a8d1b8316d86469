// Images and audio of a message: while they wait to be sent, with what they would cost, and as they are shown afterwards.

import { forUpload, isAudio } from './audio.js';
import { el, link } from './dom.js';
import { bytes, count, seconds } from './format.js';
import { dataUrl, readImage } from './images.js';

const MAX_AUDIO_BYTES = 20e6;

/** Audio as a message carries it. @throws {Error} with one line for the user. */
export async function readAudio(file) {
  const sent = await forUpload(file);
  if (sent.size > MAX_AUDIO_BYTES) {
    throw new Error(`${file.name} is ${bytes(sent.size)}; a message takes ${bytes(MAX_AUDIO_BYTES)} of audio. Use Transcribe for long recordings.`);
  }
  return { data: (await dataUrl(sent)).split(',')[1], name: file.name };
}

export class Attachments {
  items = []; // as those of a turn
  summary = ''; // what they cost, in words

  /** `cost(items)` gives what a message with them would cost, or null; `onChange()` is called when they or that change. */
  constructor(list, cost, onChange) {
    Object.assign(this, { list, cost, onChange });
  }

  /** Take a file. @throws {Error} with one line for the user. */
  async addFile(file) {
    if (file.type.startsWith('image/')) this.add(await readImage(file));
    else if (isAudio(file)) this.add(await readAudio(file));
    else throw new Error(`${file.name} is neither an image nor audio.`);
  }

  add(item) {
    this.set([...this.items, item]);
  }

  /** Attach these and no others; images come first. */
  set(items) {
    this.items = items.toSorted((one, other) => !one.url - !other.url);
    this.changed();
  }

  /** Show them, and ask what they cost; an answer that comes late, for what is no longer attached, is dropped. */
  async changed() {
    this.#show('');
    const { items } = this;
    const cost = items.length ? await this.cost(items) : null;
    if (!cost || items !== this.items) return;
    items.forEach((item, i) => { item.plan = cost.media?.[i]; });
    const { encode = 0, prefill = 0 } = cost.seconds ?? {};
    const wait = encode + prefill >= 0.5 ? `, about ${seconds(encode + prefill)} until the reply begins` : '';
    this.#show(count(cost.input_tokens, 'token') + wait);
  }

  #show(summary) {
    this.summary = summary;
    this.list.replaceChildren(...this.items.map((item) => mediaItem(item, item.url && this.#detail(item), this.#remove(item))));
    this.onChange();
  }

  #remove(item) {
    const button = link('Remove', () => {
      this.set(this.items.filter((other) => other !== item));
      document.getElementById('text').focus();
    });
    button.ariaLabel = `Remove ${item.name}`;
    return button;
  }

  #detail(image) {
    const change = (event) => {
      image.detail = event.target.checked ? 'low' : 'auto';
      this.changed();
    };
    return el('label', {}, el('input', { type: 'checkbox', checked: image.detail === 'low', onchange: change }), 'Low detail');
  }
}

/** An image, with the grid of the crops that the model looks at where the server said it, or audio. */
export function mediaItem(item, ...controls) {
  const { url, data, name, plan } = item;
  if (data) item.src ??= URL.createObjectURL(new Blob([fromBase64(data)]));
  return el('figure', {},
    url ? el('span', { class: 'framed' }, el('img', { src: url, alt: name }), plan?.scaled && grid(plan))
      : el('audio', { controls: true, preload: 'metadata', src: item.src, 'aria-label': name }),
    el('figcaption', {}, el('span', {}, plan ? planInWords(plan) : name), controls));
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Lines where one crop ends and the next begins. The grid may reach beyond the image: the rest is padding. */
function grid({ crops: [columns, rows], scaled: [width, height] }) {
  const side = Math.max(width / columns, height / rows); // of a crop: the image fills the grid in one direction
  const lines = (number, length, name, edge) => Array.from({ length: number - 1 }, (_, i) => {
    const line = el('span', { class: name });
    line.style[edge] = `${Math.min(100, (100 * (i + 1) * side) / length)}%`;
    return line;
  });
  return el('span', { class: 'grid', 'aria-hidden': 'true' }, lines(columns, width, 'across', 'left'), lines(rows, height, 'down', 'top'));
}

/** 4 × 3 crops, 12 s, 1,841 tokens. */
function planInWords({ crops, seconds: time, rows }) {
  const words = [];
  if (crops) words.push(crops[0] * crops[1] === 1 ? '1 crop' : `${crops[0]} × ${crops[1]} crops`);
  if (time) words.push(seconds(time));
  if (rows) words.push(count(rows, 'token'));
  return words.join(', ');
}
