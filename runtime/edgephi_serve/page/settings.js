// The drawer: system text, sampling, tools, and the conversation as a file.

import { toolList } from './conversation.js';
import { byId, download, el, icon } from './dom.js';

const NUMBERS = [
  ['temperature', 'Temperature', '0 always takes the likeliest token', { min: 0, max: 2, step: 'any' }],
  ['top_p', 'Top p', 'share of probability that is drawn from', { min: 0, max: 1, step: 'any' }],
  ['top_k', 'Top k', 'how many tokens are drawn from', { min: 0, step: 1 }],
  ['repetition_penalty', 'Repetition penalty', '1 is none', { min: 0.01, step: 'any' }],
  ['seed', 'Seed', 'the same seed draws the same reply', { step: 1 }],
  ['max_completion_tokens', 'Most tokens of a reply', '', { min: 1, step: 1 }],
  ['max_crops', 'Most crops of an image', 'fewer are faster, and less is seen', { min: 1, max: 36, step: 1 }],
];

/** Open the drawer. @param {Chat} chat @param {(file: File) => Promise<void>} onOpen reads a conversation */
export function openSettings(chat, onOpen) {
  const dialog = byId('settings');
  const settings = { ...chat.conversation.settings };
  const set = (name, value) => {
    if (value === '') delete settings[name];
    else settings[name] = value;
    chat.changeSettings({ ...settings });
  };
  const close = el('button', { type: 'button', class: 'icon', 'aria-label': 'Close', onclick: () => dialog.close() }, icon('close'));
  dialog.replaceChildren(
    el('div', { class: 'head' }, el('h2', { id: 'settings-title' }, 'Settings'), close),
    el('div', { class: 'body' },
      field('System text', 'system', el('textarea', { rows: 4, dir: 'auto', value: settings.system ?? '' }), set),
      el('h3', {}, 'Sampling'),
      el('p', { class: 'remark' }, 'An empty field is left to the model’s own recommendation.'),
      el('div', { class: 'fields' }, NUMBERS.map(([name, label, help, limits]) => number(name, label, help, limits, settings, set))),
      el('h3', {}, 'Functions'),
      tools(settings, set),
      el('h3', {}, 'Conversation'),
      el('p', { class: 'remark' }, 'Kept in this tab only, and gone when it is closed.'),
      el('div', { class: 'row' },
        el('button', { type: 'button', class: 'button', onclick: () => saveFile(chat) }, 'Save as JSON'),
        el('button', { type: 'button', class: 'button', onclick: () => file.click() }, 'Open JSON'))),
  );
  const file = el('input', { type: 'file', accept: '.json,application/json', hidden: true, id: 'conversation-file', 'aria-label': 'Conversation file',
    onchange: async () => {
      await onOpen(file.files[0]);
      dialog.close();
    } });
  dialog.append(file);
  dialog.showModal();
}

function field(label, name, input, set, help = '') {
  input.id = `setting-${name}`;
  input.addEventListener('change', () => set(name, input.value));
  const described = help ? el('span', { class: 'help', id: `help-${name}` }, help) : null;
  if (described) input.setAttribute('aria-describedby', described.id);
  return el('div', { class: 'field' }, el('label', { htmlFor: input.id }, label), input, described);
}

function number(name, label, help, limits, settings, set) {
  const input = el('input', { type: 'number', inputMode: 'decimal', placeholder: 'auto', ...limits, value: settings[name] ?? '' });
  const keep = (key, value) => {
    const wrong = !input.checkValidity();
    input.setAttribute('aria-invalid', wrong);
    if (!wrong) set(key, value);
  };
  return field(label, name, input, keep, help);
}

function tools(settings, set) {
  const problem = el('p', { class: 'problem', hidden: true, role: 'status' });
  const area = el('textarea', { rows: 5, class: 'mono', spellcheck: false, dir: 'ltr', value: settings.tools ?? '' });
  const keep = (name, value) => {
    problem.hidden = true;
    try {
      if (value.trim()) toolList(value);
      set(name, value.trim());
    } catch (error) {
      problem.textContent = `This is no list of functions: ${error.message}`;
      problem.hidden = false;
    }
  };
  return el('div', {}, field('A JSON list, as the API takes them', 'tools', area, keep), problem);
}

function saveFile(chat) {
  download(`conversation-${new Date().toISOString().slice(0, 10)}.json`, 'application/json', JSON.stringify(chat.conversation.toJson(), null, 1));
}
