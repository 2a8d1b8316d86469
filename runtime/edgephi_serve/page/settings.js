// The drawer: system text, sampling, functions, and the conversation as a file.

import * as chat from './chat.js';
import { toolList } from './conversation.js';
import { button, download, el, openDialog } from './dom.js';

const NUMBERS = [
	['temperature', 'Temperature', { min: 0, max: 2, step: 'any' }],
	['top_p', 'Top p', { min: 0, max: 1, step: 'any' }],
	['top_k', 'Top k', { min: 0 }],
	['repetition_penalty', 'Repetition penalty', { min: 0.01, step: 'any' }],
	['seed', 'Seed', {}],
	['max_completion_tokens', 'Most tokens of a reply', { min: 1 }],
	['max_crops', 'Most crops of an image', { min: 1, max: 36 }],
];

export function openSettings(onOpen) {
	const field = (name, label, input) => {
		Object.assign(input, { id: `setting-${name}`, value: chat.conversation.settings[name] ?? '' });
		input.onchange = () => {
			input.setCustomValidity(name === 'tools' ? toolsProblem(input.value) : '');
			input.ariaInvalid = !input.reportValidity();
			if (input.validity.valid) chat.changeSetting(name, input.value.trim());
		};
		return [el('label', { htmlFor: input.id }, label), input];
	};
	const open = async () => {
		await onOpen(file.files[0]);
		dialog.close();
	};
	const file = el('input', { type: 'file', accept: '.json', hidden: true, id: 'conversation-file', onchange: open });
	const saveFile = () => download('conversation.json', 'application/json', JSON.stringify(chat.conversation, null, 1));
	const dialog = openDialog('Settings', 'drawer', el('div.body',
		field('system', 'System text', el('textarea', { rows: 4, dir: 'auto' })),
		el('h3', 'Sampling'),
		el('p.remark', 'An empty field is left to the model’s own recommendation.'),
		el('div.fields', NUMBERS.map(([name, label, limits]) => field(name, label, el('input', { type: 'number', placeholder: 'auto', ...limits })))),
		el('h3', 'Functions'),
		field('tools', 'A JSON list, as the API takes them', el('textarea', { rows: 5, dir: 'ltr' })),
		el('h3', 'Conversation'),
		el('p.remark', 'Kept in this tab only.'),
		el('div.row', button('Save as JSON', saveFile), button('Open JSON', () => file.click()), file)));
}

function toolsProblem(text) {
	try {
		if (text.trim()) toolList(text);
		return '';
	} catch ({ message }) {
		return `This is no list of functions: ${message}`;
	}
}
