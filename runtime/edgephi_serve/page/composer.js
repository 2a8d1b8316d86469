// The box in which a message is written: text, attachments, the microphone and the camera.

import { load, save } from './api.js';
import * as attachments from './attachments.js';
import { record } from './audio.js';
import { cancelEdit, sendMessage, stop } from './chat.js';
import { announce, link, ui } from './dom.js';
import { takeImage } from './images.js';
import { missing, onChange, server } from './server.js';

const EDITING = 'You are editing an earlier message. Sending it replaces what follows.';

let isBusy = false;
let context = '';
let reading = 0;
let isEditing = false;

async function tryTo(kind, work) {
	hint();
	hint(await problemOf(kind, work));
}

async function problemOf(kind, work) {
	const problem = missing(kind);
	try {
		if (!problem) await work();
		return problem;
	} catch (error) {
		return error.message;
	}
}

function add(item) {
	if (item) attachments.add(item);
	ui.text.focus();
}

async function recordAudio() {
	ui.composer.classList.add('is-recording');
	try {
		const file = await record(ui.recording);
		add(file && await attachments.readAudio(file));
	} finally {
		ui.composer.classList.remove('is-recording');
	}
}

export async function take(files) {
	const problems = [];
	reading += 1;
	update();
	for (const file of [...files]) {
		problems.push(await problemOf(file.type.startsWith('image/') ? 'image' : 'audio', () => attachments.addFile(file)));
	}
	reading -= 1;
	update();
	hint(problems.filter(Boolean).join(' '));
	ui.text.focus();
}

export function hint(message, action = '') {
	const editing = isEditing ? [EDITING, link('Cancel', cancelEdit)] : [];
	ui.hint.replaceChildren(message ? `${message} ` : '', action, ...editing);
	if (message) announce(message);
}

function fill(text, media, editing) {
	ui.text.value = text;
	isEditing = editing;
	hint();
	attachments.attach(media);
}

export function edit({ text, media }) {
	fill(text, media, true);
	ui.text.focus();
}

export const clear = () => fill('', [], false);

const canSend = () => server.state === 'ready' && !reading && (ui.text.value.trim() || attachments.items.length);

function send(event) {
	event.preventDefault();
	if (isBusy || !canSend()) return;
	const [text, media] = [ui.text.value.trim(), attachments.items];
	clear();
	sendMessage(text, media);
}

export function setState(busy, words) {
	isBusy = busy;
	context = words;
	update();
}

export function update() {
	ui.send.hidden = isBusy;
	ui.stop.hidden = !isBusy;
	ui.send.disabled = !canSend();
	ui.context.textContent = reading ? 'reading the file' : attachments.summary || context;
	save('draft', ui.text.value);
}

ui.text.value = load('draft') ?? '';
ui.composer.onsubmit = send;
ui.stop.onclick = () => stop();
ui.text.oninput = update;
ui.text.onkeydown = (event) => {
	if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) send(event);
};
ui.text.onpaste = (event) => {
	if (!event.clipboardData.files.length) return;
	event.preventDefault();
	take(event.clipboardData.files);
};
for (const kind of ['image', 'audio']) {
	const input = ui[`${kind}-file`];
	ui[`add-${kind}`].onclick = () => tryTo(kind, () => input.click());
	input.onchange = async () => {
		await take(input.files);
		input.value = '';
	};
}
ui['add-camera'].onclick = () => tryTo('image', async () => add(await takeImage()));
ui['add-recording'].onclick = () => tryTo('audio', recordAudio);
onChange(update);
