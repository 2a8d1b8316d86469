// The box in which a message is written: text, attachments, the microphone and the camera.

import { Attachments, isAudio, isImage, readAudio } from './attachments.js';
import { takeImage } from './camera.js';
import { announce, byId, el } from './dom.js';
import { record } from './recording.js';
import { load, save } from './store.js';

export class Composer {
  busy = false;
  reading = 0; // files that are being read

  /** @param {{server: object, cost: Function, onSend: Function, onStop: Function, onCancel: Function}} given */
  constructor(given) {
    Object.assign(this, given);
    this.text = byId('text');
    this.attachments = new Attachments(byId('attached'), given.cost);
    this.attachments.addEventListener('change', () => this.update());
    this.text.value = load('draft') ?? '';
    this.#listen();
    this.#grow();
  }

  #listen() {
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    byId('stop').addEventListener('click', () => this.onStop());
    this.text.addEventListener('input', () => {
      save('draft', this.text.value || null);
      this.#grow();
      this.update();
    });
    this.text.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.busy && !document.querySelector('dialog[open]')) this.onStop();
    });
    byId('add-image').addEventListener('click', () => this.#pick('image'));
    byId('add-audio').addEventListener('click', () => this.#pick('audio'));
    byId('add-camera').addEventListener('click', () => this.#try('image', async () => this.#add('images', await takeImage())));
    byId('add-recording').addEventListener('click', () => this.#try('audio', () => this.#record()));
    for (const id of ['image-file', 'audio-file']) {
      byId(id).addEventListener('change', (event) => {
        this.addFiles([...event.target.files]);
        event.target.value = '';
      });
    }
    this.text.addEventListener('paste', (event) => {
      const files = [...event.clipboardData.files];
      if (!files.length) return;
      event.preventDefault();
      this.addFiles(files);
    });
  }

  /** Why images or audio cannot be taken by this model, or null. */
  #missing(kind) {
    const { model } = this.server;
    if (!model || model[kind === 'image' ? 'images' : 'audio']) return null;
    const [input, adapter] = kind === 'image' ? ['images', 'vision'] : ['audio', 'speech'];
    return `This model folder takes no ${input}. An export that contains the ${adapter} adapter does: edgephi export … --adapters ${adapter}.`;
  }

  #pick(kind) {
    this.#try(kind, () => byId(`${kind}-file`).click());
  }

  /** Do what a button is for, or say why it cannot be done. */
  async #try(kind, work) {
    this.hint(this.#missing(kind));
    if (this.#missing(kind)) return;
    try {
      await work();
    } catch (error) {
      this.hint(error.message);
    }
  }

  #add(kind, item) {
    if (item) this.attachments.add(kind, item);
    this.text.focus();
  }

  async #record() {
    byId('composer').classList.add('is-recording');
    try {
      const blob = await record(byId('recording'));
      if (blob) this.#add('audio', await readAudio(new File([blob], 'recording.wav', { type: 'audio/wav' })));
    } finally {
      byId('composer').classList.remove('is-recording');
      this.text.focus();
    }
  }

  async addFiles(files) {
    const { model } = this.server;
    const why = (files.some(isImage) && this.#missing('image')) || (files.some((file) => isAudio(file)) && this.#missing('audio')) || null;
    this.hint(why);
    this.reading += 1;
    this.update();
    const refused = await this.attachments.addFiles(files, { images: model?.images ?? true, audio: model?.audio ?? true });
    this.reading -= 1;
    this.update();
    if (!why) this.hint(refused[0] ?? null);
    this.text.focus();
  }

  /** Show a line above the text box; null takes it away. */
  hint(message, action = null) {
    byId('hint').hidden = !message;
    byId('hint').replaceChildren(...(message ? [el('span', {}, message)] : []), ...(action ? [action] : []));
    if (message) announce(message);
  }

  /** Put an earlier message into the box. */
  edit(turn) {
    this.text.value = turn.text;
    this.attachments.set(turn);
    const cancel = el('button', { type: 'button', class: 'link', onclick: () => this.onCancel() }, 'Cancel');
    this.hint('You are editing an earlier message. Sending it replaces what follows.', cancel);
    this.#grow();
    this.text.focus();
  }

  clear() {
    this.text.value = '';
    save('draft', null);
    this.attachments.take();
    this.hint(null);
    this.#grow();
  }

  #send() {
    const text = this.text.value.trim();
    if (this.busy || !this.#sendable(text)) return;
    const message = { text, ...this.attachments.take() };
    this.clear();
    this.onSend(message);
  }

  #sendable(text) {
    return this.server.state === 'ready' && !this.reading && (text || !this.attachments.empty);
  }

  /** Bring the buttons in line with what can be done now. */
  update() {
    byId('send').hidden = this.busy;
    byId('stop').hidden = !this.busy;
    byId('send').disabled = !this.#sendable(this.text.value.trim());
    byId('context').textContent = this.reading ? 'reading the file' : this.attachments.summary || this.context || '';
  }

  #grow() {
    this.text.style.height = 'auto';
    this.text.style.height = `${Math.min(this.text.scrollHeight, window.innerHeight * 0.4)}px`;
  }
}
