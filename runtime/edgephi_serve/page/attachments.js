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
  images = [];
  audio = [];
  summary = ''; // what they cost, in words

  /** `cost(this)` gives what a message with them would cost, or null; `onChange()` is called when they or that change. */
  constructor(list, cost, onChange) {
    Object.assign(this, { list, cost, onChange });
  }

  get empty() {
    return !this.images.length && !this.audio.length;
  }

  /** Take a file. @throws {Error} with one line for the user. */
  async addFile(file) {
    if (file.type.startsWith('image/')) this.images.push(await readImage(file));
    else if (isAudio(file)) this.audio.push(await readAudio(file));
    else throw new Error(`${file.name} is neither an image nor audio.`);
    this.changed();
  }

  set({ images, audio }) {
    this.images = [...images];
    this.audio = [...audio];
    this.changed();
  }

  /** Show them, and ask what they cost; an answer that comes late, for what is no longer attached, is dropped. */
  async changed() {
    this.#show('');
    const asked = [...this.images, ...this.audio];
    const cost = asked.length ? await this.cost(this) : null;
    if (!cost || asked.some((item, i) => item !== [...this.images, ...this.audio][i])) return;
    asked.forEach((item, i) => { item.plan = cost.media?.[i]; });
    const { encode = 0, prefill = 0 } = cost.seconds ?? {};
    const wait = encode + prefill >= 0.5 ? `, about ${seconds(encode + prefill)} until the reply begins` : '';
    this.#show(count(cost.input_tokens, 'token') + wait);
  }

  #show(summary) {
    this.summary = summary;
    this.list.replaceChildren(...this.images.map((image) => imageItem(image, this.#detail(image), this.#remove('images', image))),
      ...this.audio.map((audio) => audioItem(audio, this.#remove('audio', audio))));
    this.onChange();
  }

  #remove(kind, item) {
    const button = link('Remove', () => {
      this.set({ images: this.images, audio: this.audio, [kind]: this[kind].filter((other) => other !== item) });
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

/** An image with the grid of the crops that the model looks at, where the server said it. */
export function imageItem(image, ...controls) {
  const { url, name, plan } = image;
  return item(image, el('span', { class: 'framed' }, el('img', { src: url, alt: name }), plan?.scaled && grid(plan)), controls);
}

export function audioItem(audio, ...controls) {
  audio.src ??= URL.createObjectURL(new Blob([fromBase64(audio.data)]));
  return item(audio, el('audio', { controls: true, preload: 'metadata', src: audio.src, 'aria-label': audio.name }), controls);
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

const item = ({ name, plan }, content, controls) => (
  el('figure', {}, content, el('figcaption', {}, el('span', {}, plan ? planInWords(plan) : name), controls)));

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
