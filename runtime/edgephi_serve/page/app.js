// Starts the page: views, the state of the server, the key, files that are dropped.

import { save } from './api.js';
import * as captions from './captions.js';
import * as chat from './chat.js';
import * as composer from './composer.js';
import { Conversation } from './conversation.js';
import { button, el, openDialog, ui } from './dom.js';
import { check, onChange, server } from './server.js';
import { openSettings } from './settings.js';
import * as transcribe from './transcribe.js';

const NOTICES = {
	loading: 'The model is loading. What you write is kept.',
	gone: 'The server does not answer. What you wrote is kept; the page tries again by itself.',
};
const views = { chat, transcribe, captions };
const shown = () => Object.keys(views).find((view) => location.hash === `#${view}`) ?? 'chat';
let noticed;

function takeRecording(files) {
	location.hash = 'transcribe';
	transcribe.take(files);
}

function showView() {
	for (const view of Object.keys(views)) {
		ui[view].hidden = view !== shown();
		ui[`to-${view}`].ariaCurrent = view === shown() ? 'page' : null;
	}
	ui.new.hidden = ui['open-settings'].hidden = shown() !== 'chat';
}

function showState() {
	const { state, model, message } = server;
	const text = NOTICES[state] ?? message;
	if (text !== noticed) ui.notice.replaceChildren(text, state === 'key' ? button('Enter the key', askKey) : '');
	noticed = text;
	ui.model.textContent = model?.id ?? '';
	if (state === 'key' && !document.querySelector('dialog')) askKey();
}

function askKey() {
	const input = el('input', { type: 'password', id: 'key-input', autocomplete: 'off', required: true });
	const onsubmit = (event) => {
		event.preventDefault();
		save('key', input.value.trim());
		dialog.close();
		check();
	};
	const dialog = openDialog('Key', 'box', el('form.body', { onsubmit },
		el('p', `${server.message} Its owner has it.`),
		el('label', { htmlFor: 'key-input' }, 'Key'), input,
		el('p.remark', 'Kept in this tab only.'),
		el('button.primary', 'Use this key')));
	input.focus();
}

async function openConversation(file) {
	try {
		chat.replace(Conversation.fromJson(JSON.parse(await file.text())));
	} catch (error) {
		composer.hint(`${file.name} was not opened: ${error instanceof SyntaxError ? 'it is no JSON.' : error.message}`);
	}
}

const showDrop = (text) => ui.drop.replaceChildren(text);
document.ondragover = (event) => {
	event.preventDefault();
	if (event.dataTransfer.types.includes('Files')) showDrop(shown() === 'chat' ? 'Drop images or audio' : 'Drop a recording');
};
document.ondragleave = (event) => event.relatedTarget || showDrop('');
document.ondrop = (event) => {
	event.preventDefault();
	showDrop('');
	const { files } = event.dataTransfer;
	if (files.length) (shown() === 'chat' ? composer.take : takeRecording)(files);
};
document.onkeydown = ({ key }) => {
	if (key === 'Escape' && !document.querySelector('dialog')) views[shown()].stop();
};
ui.where.textContent = ['localhost', '127.0.0.1'].includes(location.hostname) ? 'this device' : location.host;
ui.new.onclick = chat.reset;
ui['open-settings'].onclick = () => openSettings(openConversation);
ui.again.onclick = () => takeRecording([captions.recorded()]);
window.onhashchange = showView;
window.ononline = window.onoffline = check;
onChange(showState);
chat.restore();
showView();
check();
