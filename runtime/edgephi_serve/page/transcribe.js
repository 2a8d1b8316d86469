// Transcription of a recording of any length: segments as they come, edited in place, saved as a file.

import { isAbort, stream } from './api.js';
import { forUpload, isAudio, record } from './audio.js';
import { announce, bytes, clock, count, el, seconds, ui } from './dom.js';
import { missing, onChange, report, server } from './server.js';
import { offerFiles } from './subtitles.js';

const LANGUAGES = ['en', 'zh', 'de', 'fr', 'it', 'ja', 'es', 'pt'];
const NAMES = new Intl.DisplayNames('en', { type: 'language' });
const UNSURE = -0.7; // average log-probability of a token
const GAP = '[...]';

let recording = null;
let abort = null;
let segments = [];

// Those with text, as it is now.
const spoken = () => segments.map((segment) => ({ ...segment, text: segment.text.trim() })).filter(({ text }) => text && text !== GAP);

export const stop = () => abort?.abort();

const say = (message) => { ui.trouble.textContent = message; };

function update() {
	const problem = missing('audio');
	if (problem) say(problem);
	ui.start.hidden = !recording || abort;
	ui.start.disabled = server.state !== 'ready' || problem;
	ui.halt.hidden = ui.reached.hidden = !abort;
	for (const id of ['pick', 'record', 'task']) ui[id].disabled = abort;
}

async function recordAudio() {
	say('');
	try {
		const file = await record(ui.level);
		if (file) take([file]);
	} catch (error) {
		say(error.message);
	}
}

export function take([file]) {
	if (abort) return;
	say(isAudio(file) ? '' : `${file.name} is no audio.`);
	if (!isAudio(file)) return;
	recording = file;
	URL.revokeObjectURL(ui.player.src);
	ui.player.src = URL.createObjectURL(file);
	ui.player.hidden = false;
	ui.about.textContent = `${file.name}, ${bytes(file.size)}`;
	clear('');
	ui.start.focus();
}

function clear(status) {
	say('');
	segments = [];
	ui.segments.replaceChildren();
	ui.save.replaceChildren();
	ui.status.textContent = status;
	ui.reached.removeAttribute('value');
	update();
}

async function run() {
	abort = new AbortController();
	clear('Sending the recording');
	const began = performance.now();
	try {
		await read(abort.signal);
		const found = spoken().length;
		ui.status.textContent = found ? `${count(found, 'segment')}, ${seconds((performance.now() - began) / 1000)}` : 'No speech was found.';
	} catch (error) {
		ui.status.textContent = isAbort(error) ? 'Stopped. What is here was transcribed before.' : '';
		if (!isAbort(error)) say(error.message);
		report(error);
	}
	abort = null;
	if (spoken().length) offerFiles(ui.save, recording.name.replace(/\.[^.]+$/, ''), spoken);
	update();
	announce(ui.trouble.textContent || ui.status.textContent);
}

async function read(signal) {
	const language = ui.task.value;
	const fields = { response_format: 'verbose_json', stream: true, max_segment_s: 10, ...(language && { to_language: language }) };
	const form = new FormData();
	form.append('file', await forUpload(recording));
	for (const [name, value] of Object.entries(fields)) form.append(name, value);
	const path = `v1/audio/${language ? 'translations' : 'transcriptions'}`;
	for await (const event of stream(path, form, signal, ({ type }) => type === 'transcript.text.done')) {
		if (event.edgephi?.error) say(event.edgephi.error);
		ui.status.textContent = 'Transcribing';
		if (event.type !== 'transcript.text.segment') continue;
		add(event);
		if (ui.player.duration < Infinity) ui.reached.value = event.end / ui.player.duration;
	}
	signal.throwIfAborted();
}

function add({ start, end, text, avg_logprob: sure }) {
	const segment = { start, end, text };
	segments.push(segment);
	const onclick = () => {
		ui.player.currentTime = start;
		ui.player.play();
	};
	ui.segments.append(el('li',
		el('button.time', { title: 'Play from here', 'aria-label': `Play from ${clock(start)}`, onclick }, clock(start)),
		text === GAP ? el('p.remark', 'not understood') : editable(segment, sure < UNSURE && sure !== null)));
}

function editable(segment, isUnsure) {
	const edit = el(isUnsure ? 'div.unsure' : 'div', {
		contentEditable: 'plaintext-only', role: 'textbox', tabIndex: 0, dir: 'auto', title: isUnsure && 'The model was unsure here',
		'aria-label': `Text at ${clock(segment.start)}${isUnsure ? ', the model was unsure' : ''}`,
		oninput: () => { segment.text = edit.textContent; },
		onkeydown: (event) => event.key === 'Enter' && event.preventDefault(),
	}, segment.text);
	return edit;
}

const input = ui['recording-file'];
ui.task.append(...LANGUAGES.map((value) => el('option', { value }, `Translate into ${NAMES.of(value)}`)));
ui.pick.onclick = () => input.click();
input.onchange = () => {
	take(input.files);
	input.value = '';
};
ui.record.onclick = recordAudio;
ui.start.onclick = run;
ui.halt.onclick = stop;
onChange(update);
