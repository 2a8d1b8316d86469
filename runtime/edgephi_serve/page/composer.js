// The box in which a message is written: text, attachments, the microphone and the camera.

import { load, save } from './api.js';
import { Attachments, readAudio } from './attachments.js';
import { record } from './audio.js';
import { announce, byId, link } from './dom.js';
import { takeImage } from './images.js';

const EDITING = 'You are editing an earlier message. Sending it replaces what follows.';

export class Composer {
  busy = false;
  context = '';
  #reading = 0; // files
  #editing = false;

  constructor(server, chat) {
    Object.assign(this, { server, chat, text: byId('text') });
    this.attachments = new Attachments(byId('attached'), (media) => chat.cost(media), () => this.update());
    this.text.value = load('draft') ?? '';
    this.#listen();
  }

  #listen() {
    const send = (event) => {
      event.preventDefault();
      this.#send();
    };
    byId('composer').onsubmit = send;
    byId('stop').onclick = () => this.chat.stop();
    this.text.oninput = () => this.update();
    this.text.onkeydown = (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) send(event);
    };
    this.text.onpaste = (event) => {
      if (!event.clipboardData.files.length) return;
      event.preventDefault();
      this.take(event.clipboardData.files);
    };
    for (const kind of ['image', 'audio']) {
      byId(`add-${kind}`).onclick = () => this.#try(kind, () => byId(`${kind}-file`).click());
      byId(`${kind}-file`).onchange = async ({ target }) => {
        await this.take(target.files);
        target.value = '';
      };
    }
    byId('add-camera').onclick = () => this.#try('image', async () => this.#add(await takeImage()));
    byId('add-recording').onclick = () => this.#try('audio', () => this.#record());
  }

  /** Do what a button is for, or say why it cannot be done. */
  async #try(kind, work) {
    this.hint(null);
    this.hint(await this.#problem(kind, work));
  }

  async #problem(kind, work) {
    const missing = this.server.missing(kind);
    try {
      if (!missing) await work();
      return missing;
    } catch (error) {
      return error.message;
    }
  }

  #add(item) {
    if (item) this.attachments.add(item);
    this.text.focus();
  }

  async #record() {
    byId('composer').classList.add('is-recording');
    try {
      const file = await record(byId('recording'));
      this.#add(file && await readAudio(file));
    } finally {
      byId('composer').classList.remove('is-recording');
    }
  }

  /** Take files that were picked, dropped or pasted. */
  async take(files) {
    const problems = [];
    this.#reading += 1;
    this.update();
    for (const file of [...files]) {
      problems.push(await this.#problem(file.type.startsWith('image/') ? 'image' : 'audio', () => this.attachments.addFile(file)));
    }
    this.#reading -= 1;
    this.update();
    this.hint(problems.filter(Boolean).join(' ') || null);
    this.text.focus();
  }

  /** Show a line above the text box; null takes it away. */
  hint(message, action = '') {
    const editing = this.#editing ? [EDITING, link('Cancel', () => this.chat.cancelEdit())] : [];
    byId('hint').replaceChildren(message ? `${message} ` : '', action, ...editing);
    if (message) announce(message);
  }

  /** Put an earlier message into the box. */
  edit(turn) {
    this.text.value = turn.text;
    this.attachments.set(turn.media);
    this.#editing = true;
    this.hint(null);
    this.text.focus();
  }

  clear() {
    this.text.value = '';
    this.#editing = false;
    this.hint(null);
    this.attachments.set([]);
  }

  #send() {
    const message = { text: this.text.value.trim(), media: this.attachments.items };
    if (this.busy || !this.#canSend) return;
    this.clear();
    this.chat.send(message);
  }

  get #canSend() {
    return this.server.state === 'ready' && !this.#reading && (this.text.value.trim() || this.attachments.items.length);
  }

  /** Bring the box in line with what it holds and what can be done now. */
  update() {
    byId('send').hidden = this.busy;
    byId('stop').hidden = !this.busy;
    byId('send').disabled = !this.#canSend;
    byId('context').textContent = this.#reading ? 'reading the file' : this.attachments.summary || this.context;
    save('draft', this.text.value || null);
  }
}
