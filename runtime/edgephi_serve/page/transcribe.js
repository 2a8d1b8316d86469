// Transcription of a recording of any length: segments as they come, edited in place, saved as a file.

import { stream } from './api.js';
import { forUpload, isAudio, record } from './audio.js';
import { announce, byId, el } from './dom.js';
import { bytes, clock, count, seconds } from './format.js';
import { offerFiles } from './subtitles.js';

const LANGUAGES = ['en', 'zh', 'de', 'fr', 'it', 'ja', 'es', 'pt'];
const NAMES = new Intl.DisplayNames('en', { type: 'language' });
const UNSURE = -0.7; // average log-probability of a token
const GAP = '[...]';

export class Transcribe {
  #file = null;
  #abort = null;

  constructor(server) {
    this.server = server;
    this.player = byId('player');
    this.segments = new SegmentList(byId('segments'), this.player);
    byId('task').append(...LANGUAGES.map((value) => el('option', { value }, `Translate into ${NAMES.of(value)}`)));
    byId('pick').onclick = () => byId('recording-file').click();
    byId('recording-file').onchange = ({ target }) => {
      this.take(target.files);
      target.value = '';
    };
    byId('record').onclick = () => this.#record();
    byId('start').onclick = () => this.#run();
    byId('halt').onclick = () => this.stop();
    server.addEventListener('change', () => this.#update());
  }

  stop() {
    this.#abort?.abort();
  }

  #say(message) {
    byId('trouble').textContent = message;
  }

  #update() {
    const missing = this.server.missing('audio');
    if (missing) this.#say(missing);
    byId('start').hidden = !this.#file || this.#abort;
    byId('start').disabled = this.server.state !== 'ready' || missing;
    byId('halt').hidden = !this.#abort;
    byId('reached').hidden = !this.#abort;
    for (const id of ['pick', 'record', 'task']) byId(id).disabled = this.#abort;
  }

  async #record() {
    this.#say('');
    try {
      const file = await record(byId('level'));
      if (file) this.take([file]);
    } catch (error) {
      this.#say(error.message);
    }
  }

  /** Take a recording: it is shown and can be played; `Transcribe` sends it. */
  take([file]) {
    if (this.#abort) return;
    this.#say(isAudio(file) ? '' : `${file.name} is no audio.`);
    if (!isAudio(file)) return;
    this.#file = file;
    URL.revokeObjectURL(this.player.src);
    this.player.src = URL.createObjectURL(file);
    this.player.hidden = false;
    byId('about').textContent = `${file.name}, ${bytes(file.size)}`;
    this.#clear('');
    byId('start').focus();
  }

  #clear(status) {
    this.#say('');
    this.segments.clear();
    byId('save').replaceChildren();
    byId('status').textContent = status;
    byId('reached').removeAttribute('value');
    this.#update();
  }

  async #run() {
    this.#abort = new AbortController();
    this.#clear('Sending the recording');
    const began = performance.now();
    try {
      await this.#read();
      const found = this.segments.spoken.length;
      byId('status').textContent = found ? `${count(found, 'segment')}, ${seconds((performance.now() - began) / 1000)}` : 'No speech was found.';
    } catch (error) {
      const isStopped = error.name === 'AbortError';
      byId('status').textContent = isStopped ? 'Stopped. What is here was transcribed before.' : '';
      if (!isStopped) this.#say(error.message);
      if (error.status !== undefined) this.server.report(error);
    }
    this.#abort = null;
    if (this.segments.spoken.length) offerFiles(byId('save'), this.#file.name.replace(/\.[^.]+$/, ''), () => this.segments.spoken);
    this.#update();
    announce(byId('trouble').textContent || byId('status').textContent);
  }

  async #read() {
    const { signal } = this.#abort;
    const language = byId('task').value;
    const sent = await forUpload(this.#file);
    const fields = { response_format: 'verbose_json', stream: true, max_segment_s: 10, ...(language && { to_language: language }) };
    const form = new FormData();
    form.append('file', sent, sent === this.#file ? sent.name : 'recording.wav');
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    const path = language ? 'v1/audio/translations' : 'v1/audio/transcriptions';
    for await (const event of stream(path, form, signal, ({ type }) => type === 'transcript.text.done')) {
      if (event.edgephi?.error) this.#say(event.edgephi.error);
      byId('status').textContent = 'Transcribing';
      if (event.type !== 'transcript.text.segment') continue;
      this.segments.add(event);
      if (this.player.duration < Infinity) byId('reached').value = event.end / this.player.duration;
    }
    signal.throwIfAborted();
  }
}

/** The segments: play from one, edit its text, see where the model was unsure. */
class SegmentList {
  #segments = [];

  constructor(list, player) {
    Object.assign(this, { list, player });
  }

  clear() {
    this.#segments = [];
    this.list.replaceChildren();
  }

  /** Those with text, as it is now. */
  get spoken() {
    return this.#segments.map((segment) => ({ ...segment, text: segment.text.trim() })).filter(({ text }) => text && text !== GAP);
  }

  /** A segment is complete: {start, end, text, avg_logprob}. */
  add({ start, end, text, avg_logprob: sure }) {
    const play = () => {
      this.player.currentTime = start;
      this.player.play();
    };
    const time = el('button', { class: 'time', title: 'Play from here', 'aria-label': `Play from ${clock(start)}`, onclick: play }, clock(start));
    const segment = { start, end, text };
    this.#segments.push(segment);
    this.list.append(el('li', {}, time, text === GAP ? el('p', { class: 'remark' }, 'not understood') : editable(segment, sure < UNSURE && sure !== null)));
  }
}

function editable(segment, isUnsure) {
  const edit = el('div', {
    contentEditable: 'plaintext-only', role: 'textbox', tabIndex: 0, dir: 'auto', class: isUnsure ? 'unsure' : '',
    title: isUnsure && 'The model was unsure here', 'aria-label': `Text at ${clock(segment.start)}${isUnsure ? ', the model was unsure' : ''}`,
    oninput: () => { segment.text = edit.textContent; },
    onkeydown: (event) => {
      if (event.key === 'Enter') event.preventDefault();
    },
  }, segment.text);
  return edit;
}
