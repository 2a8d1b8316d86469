// Starts the page: views, the state of the server, the key, files that are dropped.

import { save } from './api.js';
import { Chat } from './chat.js';
import { Conversation } from './conversation.js';
import { button, byId, el, openDialog } from './dom.js';
import { Server } from './server.js';
import { openSettings } from './settings.js';
import { Transcribe } from './transcribe.js';

const VIEWS = ['chat', 'transcribe'];
const NOTICES = {
  loading: 'The model is loading. What you write is kept.',
  gone: 'The server does not answer. What you wrote is kept; the page tries again by itself.',
};

const server = new Server();
const chat = new Chat(server);
const transcribe = new Transcribe(server);
const isChat = () => location.hash !== '#transcribe';

function showView() {
  const shown = isChat() ? 'chat' : 'transcribe';
  for (const view of VIEWS) {
    byId(view).hidden = view !== shown;
    byId(`to-${view}`).ariaCurrent = view === shown ? 'page' : null;
  }
  byId('new').hidden = !isChat();
  byId('open-settings').hidden = !isChat();
}

function showState() {
  const { state, model, message } = server;
  const text = NOTICES[state] ?? message ?? '';
  byId('notice').hidden = !text;
  if (byId('notice').dataset.text !== text) byId('notice').replaceChildren(text, state === 'key' ? button('Enter the key', askKey) : '');
  byId('notice').dataset.text = text;
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
    el('button', { class: 'button primary' }, 'Use this key')));
  input.focus();
}

async function openConversation(file) {
  try {
    chat.replace(Conversation.fromJson(JSON.parse(await file.text())));
  } catch (error) {
    chat.composer.hint(`${file.name} was not opened: ${error instanceof SyntaxError ? 'it is no JSON.' : error.message}`);
  }
}

function listenForFiles() {
  const show = (event) => {
    event.preventDefault();
    byId('drop').hidden = !event.dataTransfer.types.includes('Files');
    byId('drop').textContent = isChat() ? 'Drop images or audio' : 'Drop a recording';
  };
  const hide = () => { byId('drop').hidden = true; };
  document.addEventListener('dragover', show);
  document.addEventListener('dragleave', (event) => event.relatedTarget || hide());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    hide();
    const { files } = event.dataTransfer;
    if (files.length && isChat()) chat.composer.addFiles(files);
    else if (files.length) transcribe.take(files[0]);
  });
}

byId('where').textContent = ['localhost', '127.0.0.1'].includes(location.hostname) ? 'this device' : location.host;
byId('new').addEventListener('click', () => chat.reset());
byId('open-settings').addEventListener('click', () => openSettings(chat, openConversation));
window.addEventListener('hashchange', showView);
window.addEventListener('online', () => server.check());
window.addEventListener('offline', () => server.check());
server.addEventListener('change', showState);
listenForFiles();
showView();
server.check();
