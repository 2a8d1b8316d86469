// Transcription of a recording of any length: segments as they come, edited in place, saved as a file.

import { ApiError, stream } from './api.js';
import { isAudio } from './attachments.js';
import { duration, forUpload } from './audio.js';
import { announce, copyButton, download, el } from './dom.js';
import { bytes, clock, count, seconds } from './format.js';
import { record } from './recording.js';
import { SegmentList } from './segments.js';
import { FORMATS } from './subtitles.js';

const LANGUAGES = { en: 'English', zh: 'Chinese', de: 'German', fr: 'French', it: 'Italian', ja: 'Japanese', es: 'Spanish', pt: 'Portuguese' };

export class Transcribe {
  #file = null;
  #abort = null;
  #url = null;

  constructor(server, section) {
    this.server = server;
    this.input = el('input', { type: 'file', accept: 'audio/*,video/*', hidden: true, id: 'recording-file', 'aria-label': 'Recording', onchange: () => {
      if (this.input.files[0]) this.take(this.input.files[0]);
      this.input.value = '';
    } });
    this.player = el('audio', { controls: true, preload: 'metadata', 'aria-label': 'The recording', hidden: true });
    this.hint = el('p', { class: 'hint', hidden: true });
    this.recording = el('div', { class: 'recording', hidden: true });
    this.choose = el('button', { type: 'button', class: 'button', onclick: () => this.input.click() }, 'Choose a file');
    this.record = el('button', { type: 'button', class: 'button', onclick: () => this.#record() }, 'Record');
    this.start = el('button', { type: 'button', class: 'button primary', onclick: () => this.#run(), hidden: true }, 'Transcribe');
    this.halt = el('button', { type: 'button', class: 'button', onclick: () => this.#abort?.abort(), hidden: true }, 'Stop');
    this.about = el('p', { class: 'about', dir: 'auto' });
    this.status = el('p', { class: 'remark', role: 'status' });
    this.bar = el('div', { class: 'long-bar', hidden: true, role: 'progressbar', 'aria-label': 'Transcribed so far' }, el('span'));
    this.list = el('ol', { class: 'segments', 'aria-label': 'Segments' });
    this.save = el('div', { class: 'row save', hidden: true });
    section.append(this.#layout());
    server.addEventListener('change', () => this.#update());
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !section.hidden && event.target.role !== 'textbox') this.#abort?.abort();
    });
  }

  #layout() {
    const option = ([value, label]) => el('option', { value }, label);
    this.task = el('select', { id: 'task' }, option(['', 'Transcribe']), ...Object.entries(LANGUAGES).map(([code, name]) => option([code, `Translate into ${name}`])));
    return el('div', { class: 'column' },
      el('div', { class: 'source' },
        el('h2', {}, 'Transcribe a recording'),
        el('p', { class: 'remark' }, 'Any length; it is cut at pauses. Choose a file, drop one here, or record.'),
        el('div', { class: 'row' }, this.choose, this.record, el('label', { htmlFor: 'task', class: 'hidden' }, 'Task'), this.task, this.start, this.halt),
        this.recording, this.hint, this.about, this.player, this.input),
      this.bar, this.status, this.list, this.save);
  }

  #say(message) {
    this.hint.hidden = !message;
    this.hint.textContent = message ?? '';
  }

  #missing() {
    if (!this.server.model || this.server.model.audio) return null;
    return 'This model folder takes no audio. An export that contains the speech adapter does: edgephi export … --adapters speech.';
  }

  #update() {
    const missing = this.#missing();
    if (missing) this.#say(missing);
    this.start.hidden = !this.#file || this.#abort !== null;
    this.start.disabled = this.server.state !== 'ready' || missing !== null;
    this.halt.hidden = this.#abort === null;
    for (const button of [this.choose, this.record, this.task]) button.disabled = this.#abort !== null;
  }

  async #record() {
    this.#say(null);
    try {
      const blob = await record(this.recording);
      if (blob) await this.take(new File([blob], 'recording.wav', { type: 'audio/wav' }));
    } catch (error) {
      this.#say(error.message);
    }
  }

  /** Take a recording: it is shown and can be played; `Transcribe` sends it. */
  async take(file) {
    if (this.#abort) return;
    if (!isAudio(file)) {
      this.#say(`${file.name} is no audio.`);
      return;
    }
    this.#say(null);
    this.#file = file;
    URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(file);
    this.player.src = this.#url;
    this.player.hidden = false;
    this.length = await duration(file);
    this.about.textContent = [file.name, this.length ? clock(this.length) : null, bytes(file.size)].filter(Boolean).join(', ');
    this.segments = new SegmentList(this.list, this.player, () => {});
    this.save.hidden = true;
    this.status.textContent = '';
    this.#update();
    this.start.focus();
  }

  async #run() {
    this.#say(null);
    this.#abort = new AbortController();
    this.segments = new SegmentList(this.list, this.player, () => {});
    this.save.hidden = true;
    this.#update();
    this.#progress(0);
    this.status.textContent = 'Sending the recording';
    const began = performance.now();
    try {
      await this.#read();
      this.status.textContent = `${count(this.segments.segments.length, 'segment')}, ${seconds((performance.now() - began) / 1000)}`;
    } catch (error) {
      this.#failed(error);
    }
    this.#abort = null;
    this.bar.hidden = true;
    this.segments.endLive();
    this.#offer();
    this.#update();
    announce(this.hint.textContent || `Transcribed: ${this.status.textContent}`);
  }

  async #read() {
    const form = new FormData();
    const sent = await forUpload(this.#file);
    form.append('file', sent, sent === this.#file ? this.#file.name : 'recording.wav');
    form.append('response_format', 'verbose_json');
    form.append('stream', 'true');
    form.append('max_segment_s', '10');
    if (this.task.value) form.append('to_language', this.task.value);
    const path = this.task.value ? 'v1/audio/translations' : 'v1/audio/transcriptions';
    const isLast = ({ type }) => type === 'transcript.text.done';
    for await (const { chunk } of stream(path, form, { signal: this.#abort.signal, isLast })) {
      if (chunk) this.#take(chunk);
    }
  }

  #take(event) {
    this.status.textContent = 'Transcribing';
    if (event.type === 'transcript.text.delta') this.segments.delta(event.delta);
    else if (event.type === 'transcript.text.segment') {
      this.segments.add(event);
      this.#progress(event.end);
    } else if (event.type === 'transcript.text.done' && !this.segments.segments.length) {
      const whole = event.text ? [{ start: 0, end: this.length ?? 0, text: event.text }] : [];
      for (const segment of event.segments ?? whole) this.segments.add(segment);
    }
  }

  #failed(error) {
    if (error.name === 'AbortError') this.status.textContent = 'Stopped. What is here was transcribed before.';
    else {
      this.status.textContent = '';
      this.#say(error.message);
      if (!(error instanceof ApiError)) throw error;
      this.server.report(error);
    }
  }

  #progress(end) {
    this.bar.hidden = !this.length;
    if (!this.length) return;
    const share = Math.min(1, end / this.length);
    this.bar.firstChild.style.transform = `scaleX(${share})`;
    this.bar.setAttribute('aria-valuenow', Math.round(share * 100));
  }

  /** Offer the transcript as files. */
  #offer() {
    const { segments } = this.segments;
    const base = this.#file.name.replace(/\.[^.]+$/, '');
    this.save.hidden = !segments.length;
    const button = ([name, { type, write }]) => el('button', { type: 'button', class: 'button', onclick: () => download(`${base}.${name}`, type, write(segments)) }, name);
    this.save.replaceChildren(el('span', { class: 'remark' }, 'Save as'), ...Object.entries(FORMATS).map(button),
      copyButton('Copy the transcript', () => FORMATS.txt.write(segments).trimEnd()));
    if (!segments.length && !this.hint.textContent) this.status.textContent = 'No speech was found.';
  }
}
