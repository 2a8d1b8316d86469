// Images and audio that wait to be sent with the next message.

import { duration, forUpload } from './audio.js';
import { costInWords, imageWithCrops, planInWords } from './crops.js';
import { el, icon } from './dom.js';
import { bytes, clock } from './format.js';
import { dataUrl, readImage } from './images.js';
import { viewImage } from './viewer.js';

const MAX_AUDIO_BYTES = 20e6;
const AUDIO_NAME = /\.(wav|flac|mp3|ogg|oga|opus|aiff?|au|caf|webm|mka|mkv|m4a|aac|mp4|mov|wma|amr)$/i;

export const isImage = (file) => file.type.startsWith('image/');
export const isAudio = (file) => /^(audio|video)\//.test(file.type) || AUDIO_NAME.test(file.name);

/** Audio as a message carries it. @throws {Error} with one line for the user. */
export async function readAudio(file) {
  const name = file.name || 'recording';
  const sent = await forUpload(file);
  if (sent.size > MAX_AUDIO_BYTES) {
    throw new Error(`${name} is ${bytes(sent.size)}; a message takes ${bytes(MAX_AUDIO_BYTES)} of audio. Use Transcribe for long recordings.`);
  }
  return { data: (await dataUrl(sent)).split(',')[1], name, seconds: await duration(file) };
}

/** Fires `change` when something was added or removed. */
export class Attachments extends EventTarget {
  images = [];
  audio = [];

  /** @param {HTMLElement} list @param {(turn: object) => Promise<object | null>} cost what the attached would cost */
  constructor(list, cost) {
    super();
    this.list = list;
    this.cost = cost;
  }

  get empty() {
    return !this.images.length && !this.audio.length;
  }

  /** Take files. @returns {Promise<string[]>} one line for each that could not be taken */
  async addFiles(files, { images, audio }) {
    const refused = [];
    for (const file of files) {
      try {
        if (isImage(file) && images) this.images.push(await readImage(file));
        else if (isAudio(file) && audio) this.audio.push(await readAudio(file));
        else refused.push(`${file.name} is neither an image nor audio that this model takes.`);
      } catch (error) {
        refused.push(error.message);
      }
    }
    this.#changed();
    return refused;
  }

  add(kind, item) {
    this[kind].push(item);
    this.#changed();
  }

  set({ images, audio }) {
    this.images = [...images];
    this.audio = [...audio];
    this.#changed();
  }

  /** Give away what is attached, for a message that is sent. */
  take() {
    const { images, audio } = this;
    this.set({ images: [], audio: [] });
    return { images, audio };
  }

  async #changed() {
    this.#render();
    this.dispatchEvent(new Event('change'));
    await this.#measure();
  }

  /** Ask what the attached costs; an answer that comes late, for what is no longer attached, is dropped. */
  async #measure() {
    this.summary = '';
    if (this.empty) return;
    const asked = [...this.images, ...this.audio];
    const cost = await this.cost(this);
    if (!cost || asked.some((item, i) => item !== [...this.images, ...this.audio][i])) return;
    asked.forEach((item, i) => { item.plan = cost.media?.[i] ?? null; });
    this.summary = costInWords(cost);
    this.#render();
    this.dispatchEvent(new Event('change'));
  }

  #render() {
    this.list.hidden = this.empty;
    this.list.replaceChildren(
      ...this.images.map((image) => this.#item('images', image, this.#imageBody(image))),
      ...this.audio.map((audio) => this.#item('audio', audio, audioBody(audio))),
    );
  }

  #item(kind, item, body) {
    const remove = () => {
      this[kind] = this[kind].filter((other) => other !== item);
      this.#changed();
      document.getElementById('text').focus();
    };
    const button = el('button', { type: 'button', class: 'icon remove', 'aria-label': `Remove ${item.name}`, title: 'Remove', onclick: remove }, icon('close'));
    return el('li', {}, body, button);
  }

  #imageBody(image) {
    const view = () => viewImage(image, () => image.plan ?? null, async () => this.#measure());
    return el('button', { type: 'button', class: 'thumb', 'aria-label': `Look at ${image.name} and its crops`, onclick: view },
      imageWithCrops(image, image.plan), el('span', { class: 'caption' }, planInWords(image.plan) || image.name));
  }
}

export function audioBody(audio) {
  const length = audio.seconds ?? audio.plan?.seconds;
  return el('span', { class: 'thumb sound' }, icon('audio'),
    el('span', { class: 'caption' }, [audio.name, length ? clock(length) : null].filter(Boolean).join(', ')));
}
