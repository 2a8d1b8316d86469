// Starts the page: views, the state of the server, the key, files that are dropped.

import { save } from './api.js';
import { Captions } from './captions.js';
import { Chat } from './chat.js';
import { Conversation } from './conversation.js';
import { button, byId, el, openDialog } from './dom.js';
import { Server } from './server.js';
import { openSettings } from './settings.js';
import { Transcribe } from './transcribe.js';

const NOTICES = {
  loading: 'The model is loading. What you write is kept.',
  gone: 'The server does not answer. What you wrote is kept; the page tries again by itself.',
};

const server = new Server();
const chat = new Chat(server);
const transcribe = new Transcribe(server);
const captions = new Captions(server, takeRecording);
const views = { chat, transcribe, captions };
const shown = () => Object.keys(views).find((view) => location.hash === `#${view}`) ?? 'chat';

function takeRecording(files) {
  location.hash = 'transcribe';
  transcribe.take(files);
}

function showView() {
  for (const view of Object.keys(views)) {
    byId(view).hidden = view !== shown();
    byId(`to-${view}`).ariaCurrent = view === shown() ? 'page' : null;
  }
  for (const id of ['new', 'open-settings']) byId(id).hidden = shown() !== 'chat';
}

let noticed;

function showState() {
  const { state, model, message } = server;
  const text = NOTICES[state] ?? message ?? '';
  if (text !== noticed) byId('notice').replaceChildren(text, state === 'key' ? button('Enter the key', askKey) : '');
  noticed = text;
  byId('model').textContent = model?.id ?? '';
  if (state === 'key' && !document.querySelector('dialog')) askKey();
}

function askKey() {
  const input = el('input', { type: 'password', id: 'key-input', autocomplete: 'off', required: true });
  const use = (event) => {
    event.preventDefault();
    save('key', input.value.trim());
    dialog.close();
    server.check();
  };
  const dialog = openDialog('Key', 'box', el('form', { class: 'body', onsubmit: use },
    el('p', {}, `${server.message} Its owner has it.`),
    el('label', { htmlFor: 'key-input' }, 'Key'), input,
    el('p', { class: 'remark' }, 'Kept in this tab only.'),
    el('button', { class: 'primary' }, 'Use this key')));
  input.focus();
}

async function openConversation(file) {
  try {
    chat.replace(Conversation.fromJson(JSON.parse(await file.text())));
  } catch (error) {
    chat.composer.hint(`${file.name} was not opened: ${error instanceof SyntaxError ? 'it is no JSON.' : error.message}`);
  }
}

const showDrop = (text) => byId('drop').replaceChildren(text);
document.ondragover = (event) => {
  event.preventDefault();
  if (event.dataTransfer.types.includes('Files')) showDrop(shown() === 'chat' ? 'Drop images or audio' : 'Drop a recording');
};
document.ondragleave = (event) => event.relatedTarget || showDrop('');
document.ondrop = (event) => {
  event.preventDefault();
  showDrop('');
  const { files } = event.dataTransfer;
  if (files.length && shown() === 'chat') chat.composer.take(files);
  else if (files.length) takeRecording(files);
};
document.onkeydown = ({ key }) => {
  if (key === 'Escape' && !document.querySelector('dialog')) views[shown()].stop();
};
byId('where').textContent = ['localhost', '127.0.0.1'].includes(location.hostname) ? 'this device' : location.host;
byId('new').onclick = () => chat.reset();
byId('open-settings').onclick = () => openSettings(chat, openConversation);
window.onhashchange = showView;
window.ononline = () => server.check();
window.onoffline = () => server.check();
server.addEventListener('change', showState);
showView();
server.check();
