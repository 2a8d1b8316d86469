// Live captions: what is said into the microphone is written down while it is said.

import { listen, wav } from './audio.js';
import { announce, clock, el, seconds, ui, whileFollowing } from './dom.js';
import { RealtimeSession } from './realtime.js';
import { missing, onChange, report, server } from './server.js';
import { offerFiles } from './subtitles.js';

const WORDS = { opening: 'Connecting', live: 'Listening', paused: 'Paused', ending: 'Writing down the last words', idle: '' };

let state = 'idle';
let audio = []; // all of it, in blocks of 0.1 s
let began = 0; // the session, in seconds of `audio`
let lag = 0;
let device = null;
let session = null;
const captions = new Map();

const now = () => audio.length / 10;
const all = () => [...captions.values()];
const isLarge = () => ui.captions.classList.contains('is-large');

export const recorded = () => wav(audio, 'captions');

// Escape: back from large text, or the end.
export function stop() {
	if (isLarge()) enlarge(false);
	else end();
}

function set(next) {
	state = next;
	announce(WORDS[state]);
	show();
}

function say(message) {
	ui['caption-trouble'].textContent = message;
	if (message) announce(message);
}

function show() {
	const problem = missing('audio');
	const isIdle = state === 'idle';
	if (problem) ui['caption-trouble'].textContent = problem;
	ui.listen.hidden = !isIdle;
	ui.listen.disabled = problem || server.state !== 'ready';
	ui.pause.hidden = !['live', 'paused'].includes(state);
	ui.pause.textContent = state === 'paused' ? 'Resume' : 'Pause';
	ui.end.hidden = isIdle;
	ui.loudness.hidden = state !== 'live';
	ui.kept.hidden = !isIdle || !audio.length;
	ui.lag.textContent = WORDS[state] + (state === 'live' ? `, ${seconds(lag)} behind` : '');
}

async function start() {
	say('');
	set('opening');
	began = now();
	try {
		device = await listen(push);
		device.onended = () => {
			end();
			say('The microphone has gone away.');
		};
		session = new RealtimeSession((event) => whileFollowing('captions', () => take(event)), ended);
		if (state !== 'opening') end();
	} catch (error) {
		ended(error);
	}
}

function push(block, level) {
	audio.push(block);
	session.push(block);
	ui.loudness.value = level;
	const waiting = all().find((caption) => caption.end && !caption.isFinal);
	if (waiting) lag = now() - waiting.end;
	show();
}

function pause() {
	device.isPaused = state === 'live';
	if (device.isPaused) session.commit();
	set(device.isPaused ? 'paused' : 'live');
}

function end() {
	if (state === 'idle') return;
	device?.stop();
	session?.end();
	if (state !== 'ending') set('ending');
}

function take(event) {
	const { type, item_id: id, error } = event;
	if (id && !captions.has(id)) captions.set(id, new Caption(now()));
	const caption = captions.get(id);
	if (type === 'session.updated' && state === 'opening') set('live');
	else if (type.endsWith('speech_started')) caption.begin(began + event.audio_start_ms / 1000);
	else if (type.endsWith('speech_stopped')) caption.end = began + event.audio_end_ms / 1000;
	else if (type === 'edgephi.tail') {
		lag = event.lag_s;
		say(''); // It keeps up again.
		caption.tail.textContent = event.text;
	} else if (type.endsWith('transcription.delta')) caption.settle(caption.text + event.delta);
	else if (type.endsWith('transcription.completed')) caption.finish(event.transcript.trim());
	else if (type.endsWith('transcription.failed')) caption.finish(caption.text, error.message);
	else if (type === 'error') say(error.message);
}

// The session is over; what is not settled stays as it was.
function ended(error) {
	device?.stop();
	device = session = null;
	for (const caption of all()) {
		caption.end ??= now();
		if (!caption.isFinal) caption.finish(caption.text + caption.tail.textContent);
	}
	set('idle');
	if (error) {
		say(error.message);
		report(error);
	}
	offerFiles(ui.files, 'captions', () => all().filter(({ text }) => text));
}

function clear() {
	audio = [];
	captions.clear();
	ui.spoken.replaceChildren();
	show();
}

// Captions and nothing else, in the whole screen where the browser allows it.
function enlarge(large) {
	ui.captions.classList.toggle('is-large', large);
	ui.large.ariaPressed = large;
	if (large) document.documentElement.requestFullscreen?.().catch(() => {});
	else if (document.fullscreenElement) document.exitFullscreen();
}

class Caption {
	text = '';
	isFinal = false;
	time = el('span.time');
	tail = el('span.tail', { 'aria-hidden': 'true' });
	words = el('p', { dir: 'auto' }, this.tail);
	node = el('li', this.time, this.words);

	constructor(start) {
		this.begin(start);
		ui.spoken.append(this.node);
	}

	begin(start) {
		this.start = start;
		this.time.textContent = clock(start);
	}

	// Only what is new is added, so that a screen reader says only that.
	settle(text) {
		if (text.startsWith(this.text)) this.tail.before(text.slice(this.text.length));
		else this.words.replaceChildren(text, this.tail);
		this.text = text;
		this.tail.textContent = '';
	}

	finish(text, problem) {
		this.settle(text);
		this.isFinal = true;
		if (problem) this.words.append(el('span.remark', ` ${problem}`));
		else if (!text) this.node.remove();
	}
}

ui.listen.onclick = start;
ui.pause.onclick = pause;
ui.end.onclick = end;
ui.large.onclick = () => enlarge(!isLarge());
ui.clear.onclick = clear;
document.onfullscreenchange = () => document.fullscreenElement || enlarge(false);
onChange(show);
