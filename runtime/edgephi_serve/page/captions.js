// Live captions: what is said into the microphone is written down while it is said.

import { listen, wav } from './audio.js';
import { announce, byId, el, follow, isNearEnd } from './dom.js';
import { clock, seconds } from './format.js';
import { RealtimeSession } from './realtime.js';
import { offerFiles } from './subtitles.js';

const WORDS = { opening: 'Connecting', live: 'Listening', paused: 'Paused', ending: 'Writing down the last words', idle: '' };
const isLarge = () => byId('captions').classList.contains('is-large');

export class Captions {
  #state = 'idle';
  #audio = []; // all of it, in blocks of 0.1 s
  #began = 0; // the session, in seconds of #audio
  #lag = 0;
  #captions = new CaptionList(byId('spoken'));

  /** `onAudio([file])` takes a recording of the whole. */
  constructor(server, onAudio) {
    this.server = server;
    byId('listen').onclick = () => this.#start();
    byId('pause').onclick = () => this.#pause(this.#state === 'live');
    byId('end').onclick = () => this.#stop();
    byId('large').onclick = () => enlarge(!isLarge());
    byId('again').onclick = () => onAudio([new File([wav(this.#audio)], 'captions.wav', { type: 'audio/wav' })]);
    byId('clear').onclick = () => this.#clear();
    document.onfullscreenchange = () => document.fullscreenElement || enlarge(false);
    server.addEventListener('change', () => this.#show());
  }

  /** Escape: back from large text, or the end. */
  stop() {
    if (isLarge()) enlarge(false);
    else this.#stop();
  }

  get #now() {
    return this.#audio.length / 10;
  }

  #set(state) {
    this.#state = state;
    announce(WORDS[state]);
    this.#show();
  }

  #say(message) {
    byId('caption-trouble').textContent = message;
    announce(message);
  }

  #show() {
    const missing = this.server.missing('audio');
    const isIdle = this.#state === 'idle';
    if (missing) byId('caption-trouble').textContent = missing;
    byId('listen').hidden = !isIdle;
    byId('listen').disabled = missing || this.server.state !== 'ready';
    byId('pause').hidden = !['live', 'paused'].includes(this.#state);
    byId('pause').textContent = this.#state === 'paused' ? 'Resume' : 'Pause';
    byId('end').hidden = isIdle;
    byId('loudness').hidden = this.#state !== 'live';
    byId('kept').hidden = !isIdle || !this.#audio.length;
    byId('lag').textContent = WORDS[this.#state] + (this.#state === 'live' ? `, ${seconds(this.#lag)} behind` : '');
  }

  async #start() {
    byId('caption-trouble').textContent = '';
    this.#set('opening');
    this.#began = this.#now;
    try {
      const device = await listen((block, level) => this.#push(block, level));
      this.device = device;
      device.onended = () => {
        this.#stop();
        this.#say('The microphone has gone away.');
      };
      this.session = new RealtimeSession((event) => this.#take(event), (error) => this.#end(error));
      if (this.#state !== 'opening') this.#stop();
    } catch (error) {
      this.#end(error);
    }
  }

  #push(block, level) {
    this.#audio.push(block);
    this.session.push(block);
    byId('loudness').value = level;
    const waiting = this.#captions.waiting;
    if (waiting) this.#lag = this.#now - waiting.end;
    this.#show();
  }

  #pause(isPaused) {
    this.device.isPaused = isPaused;
    if (isPaused) this.session.commit();
    this.#set(isPaused ? 'paused' : 'live');
  }

  #stop() {
    if (this.#state === 'idle') return;
    this.device?.stop();
    this.session?.end();
    if (this.#state !== 'ending') this.#set('ending');
  }

  #take(event) {
    const { type, item_id: id, error } = event;
    const caption = id && this.#captions.get(id, this.#now);
    const near = isNearEnd('captions');
    if (type === 'session.updated' && this.#state === 'opening') this.#set('live');
    else if (type === 'input_audio_buffer.speech_started') caption.begin(this.#began + event.audio_start_ms / 1000);
    else if (type === 'input_audio_buffer.speech_stopped') caption.end = this.#began + event.audio_end_ms / 1000;
    else if (type === 'edgephi.tail') {
      this.#lag = event.lag_s;
      byId('caption-trouble').textContent = ''; // It keeps up again.
      caption.tail.textContent = event.text;
    } else if (type.endsWith('transcription.delta')) caption.settle(caption.text + event.delta);
    else if (type.endsWith('transcription.completed')) caption.finish(event.transcript.trim());
    else if (type.endsWith('transcription.failed')) caption.finish(caption.text, error.message);
    else if (type === 'error') this.#say(error.message);
    if (near) follow();
  }

  /** The session is over; what is not settled stays as it was. */
  #end(error) {
    this.device?.stop();
    this.device = this.session = null;
    this.#captions.end(this.#now);
    this.#set('idle');
    if (error) this.#say(error.message);
    if (error?.status !== undefined) this.server.report(error);
    offerFiles(byId('files'), 'captions', () => this.#captions.spoken);
  }

  #clear() {
    this.#audio = [];
    this.#captions = new CaptionList(byId('spoken'));
    this.#show();
  }
}

/** Captions in large letters and nothing else, in the whole screen where the browser allows it. */
function enlarge(large) {
  byId('captions').classList.toggle('is-large', large);
  byId('large').ariaPressed = large;
  if (large) document.documentElement.requestFullscreen?.().catch(() => {});
  else if (document.fullscreenElement) document.exitFullscreen();
}

/** Captions in the order in which they were begun. */
class CaptionList {
  #all = new Map();

  constructor(list) {
    this.list = list;
    list.replaceChildren();
  }

  /** The caption with an id, which begins at `now` if there is none yet. */
  get(id, now) {
    if (!this.#all.has(id)) this.#all.set(id, new Caption(this.list, now));
    return this.#all.get(id);
  }

  /** The first whose speech has ended, but not its text. */
  get waiting() {
    return [...this.#all.values()].find(({ end, isFinal }) => end && !isFinal);
  }

  /** Those with text. */
  get spoken() {
    return [...this.#all.values()].filter(({ text }) => text);
  }

  /** No more text comes. */
  end(now) {
    for (const caption of this.#all.values()) {
      caption.end ??= now;
      if (!caption.isFinal) caption.finish(caption.text + caption.tail.textContent);
    }
  }
}

class Caption {
  text = ''; // settled
  isFinal = false;
  tail = el('span', { class: 'tail', 'aria-hidden': 'true' });
  words = el('p', { dir: 'auto' }, this.tail);

  constructor(list, start) {
    this.time = el('span', { class: 'time' });
    this.node = el('li', {}, this.time, this.words);
    this.begin(start);
    list.append(this.node);
  }

  begin(start) {
    this.start = start;
    this.time.textContent = clock(start);
  }

  /** Only what is new is added, so that a screen reader says only that. */
  settle(text) {
    if (text.startsWith(this.text)) this.tail.before(text.slice(this.text.length));
    else this.words.replaceChildren(text, this.tail);
    this.text = text;
    this.tail.textContent = '';
  }

  finish(text, problem) {
    this.settle(text);
    this.isFinal = true;
    if (problem) this.words.append(el('span', { class: 'remark' }, ` ${problem}`));
    else if (!text) this.node.remove();
  }
}
