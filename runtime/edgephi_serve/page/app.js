// Starts the page: views, the state of the server, the key, files that are dropped.

import { setApiKey } from './api.js';
import { Chat } from './chat.js';
import { Conversation } from './conversation.js';
import { announce, byId, el } from './dom.js';
import { Server } from './server.js';
import { openSettings } from './settings.js';
import { Transcribe } from './transcribe.js';

const VIEWS = ['chat', 'transcribe'];
const NOTICES = {
  loading: 'The model is loading. What you write is kept.',
  gone: 'The server does not answer. What you wrote is kept; the page tries again by itself.',
  key: 'This server needs a key.',
  badkey: 'The server refused the key.',
};

const server = new Server();
const chat = new Chat(server);
const transcribe = new Transcribe(server, byId('transcribe'));

function showView() {
  const name = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : 'chat';
  for (const view of VIEWS) {
    byId(view).hidden = view !== name;
    if (view === name) byId(`to-${view}`).setAttribute('aria-current', 'page');
    else byId(`to-${view}`).removeAttribute('aria-current');
  }
  byId('new').hidden = name !== 'chat';
  byId('open-settings').hidden = name !== 'chat';
  document.title = name === 'chat' ? 'edgephi' : 'Transcribe – edgephi';
}

function showState() {
  const { state, model, message } = server;
  const text = NOTICES[state] ?? (state === 'refused' ? message : '');
  const notice = byId('notice');
  notice.hidden = !text;
  if (notice.firstElementChild.textContent !== text) notice.firstElementChild.textContent = text;
  notice.lastElementChild.replaceChildren(...(state === 'key' || state === 'badkey'
    ? [el('button', { type: 'button', class: 'button', onclick: askKey }, 'Enter the key')] : []));
  byId('model').textContent = model?.id ?? '';
  if ((state === 'key' || state === 'badkey') && !byId('key').open) askKey();
}

function askKey() {
  const dialog = byId('key');
  const input = el('input', { type: 'password', id: 'key-input', autocomplete: 'off', required: true, spellcheck: false });
  const use = (event) => {
    event.preventDefault();
    setApiKey(input.value.trim());
    dialog.close();
    server.check();
  };
  dialog.replaceChildren(el('form', { onsubmit: use },
    el('h2', { id: 'key-title' }, 'Key'),
    el('p', {}, server.state === 'badkey' ? 'The server refused this key. Check it and enter it again.' : 'This server answers only with a key. Its owner has it.'),
    el('label', { htmlFor: 'key-input' }, 'Key'), input,
    el('p', { class: 'remark' }, 'Kept in this tab only.'),
    el('div', { class: 'foot' }, el('button', { type: 'button', class: 'button', onclick: () => dialog.close() }, 'Cancel'),
      el('button', { type: 'submit', class: 'button primary' }, 'Use this key'))));
  if (!dialog.open) dialog.showModal();
}

async function openConversation(file) {
  try {
    chat.replace(Conversation.fromJson(JSON.parse(await file.text())));
    announce('The conversation is open');
  } catch (error) {
    const why = error instanceof SyntaxError ? 'it is no JSON' : error.message;
    chat.composer.hint(`${file.name} was not opened: ${why}`);
  }
}

function listenForFiles() {
  const drop = byId('drop');
  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
  const enter = (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    drop.hidden = false;
    drop.firstElementChild.textContent = byId('chat').hidden ? 'Drop a recording' : 'Drop images or audio';
  };
  const leave = () => {
    depth = Math.max(0, depth - 1);
    drop.hidden = depth === 0;
  };
  document.addEventListener('dragenter', enter);
  document.addEventListener('dragleave', leave);
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    depth = 0;
    drop.hidden = true;
    const files = [...event.dataTransfer.files];
    if (!files.length) return;
    if (byId('chat').hidden) transcribe.take(files[0]);
    else chat.composer.addFiles(files);
  });
}

byId('where').textContent = location.hostname === 'localhost' || location.hostname === '127.0.0.1' ? 'this device' : location.host;
byId('new').addEventListener('click', () => chat.reset());
byId('open-settings').addEventListener('click', () => openSettings(chat, openConversation));
window.addEventListener('hashchange', showView);
window.addEventListener('online', () => server.check());
window.addEventListener('offline', () => server.check());
server.addEventListener('change', showState);
listenForFiles();
showView();
server.check();
