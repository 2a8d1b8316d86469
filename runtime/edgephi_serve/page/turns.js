// Turns of the conversation as DOM: messages, and replies with progress, text, calls and figures.

import { mediaItem } from './attachments.js';
import { askAgain, edit, giveResult } from './chat.js';
import { copyButton, count, el, figure, link, seconds } from './dom.js';
import { MarkdownView } from './markdown.js';

const STAGES = ['queue', 'preprocess', 'load', 'encode', 'prefill', 'decode'];
const SPELLED = { queued: 'queue', waiting: 'queue' };

class StageBar {
	bar = el('progress', { 'aria-label': 'Progress of the reply' });
	now = el('span', 'sent');
	node = el('p.stages', this.bar, this.now);

	update({ stage, done, total }) {
		const name = SPELLED[stage] ?? stage;
		if (!STAGES.includes(name)) return;
		const ahead = name === 'queue' && done ? `${count(done, 'request')} before this one` : '';
		this.now.textContent = `${name} ${total > 1 ? `${figure(done)} of ${figure(total)}` : ahead}`;
		if (total) this.bar.value = done / total;
		else this.bar.removeAttribute('value');
	}
}

// A line, and a bar of its parts, of `edgephi.timing` and `usage`.
function measured(timing, usage = {}) {
	const parts = STAGES.map((name) => [name, timing[`${name}_s`]]).filter(([, time]) => time >= 0.005);
	const bar = parts.map(([name, time]) => {
		const part = el(`span.part.${name}`);
		part.style.flexGrow = time * 1000; // shares of the whole only if they sum to more than 1
		return part;
	});
	const words = parts.map(([name, time]) => el(`span.key.${name}`, `${name} ${seconds(time)}`));
	const { completion_tokens: made, prompt_tokens: prompt, prompt_tokens_details: details } = usage;
	const rate = (made - 1) / timing.decode_s;
	if (made) words.push(count(made, 'token') + (rate > 0 && rate < Infinity ? `, ${rate.toFixed(rate < 10 ? 1 : 0)} per second` : ''));
	if (timing.ttft_s) words.push(`first after ${seconds(timing.ttft_s)}`);
	if (details?.cached_tokens) words.push(`${figure(details.cached_tokens)} of ${count(prompt, 'prompt token')} cached`);
	return el('div.measured', el('div.parts', { 'aria-hidden': 'true' }, bar), el('p', words.map((word) => el('span', word))));
}

export function userTurn(turn) {
	const { role, text, media } = turn;
	return el('li.turn.user',
		el('h2.hidden', role === 'tool' ? 'Result of the function' : 'You'),
		el('div.bubble', media.map((item) => mediaItem(item)), text && el('p', { dir: 'auto' }, text)),
		el('div.actions', role === 'user' && link('Edit', () => edit(turn)), text && copyButton(() => text)));
}

export class ReplyView {
	content = el('div.prose');
	foot = el('div');
	node = el('li.turn.reply', el('h2.hidden', 'Reply'), this.content, this.foot);
	markdown = new MarkdownView(this.content);
	#frame = 0;

	constructor(turn) {
		this.turn = turn;
		this.finish();
	}

	begin() {
		this.node.ariaBusy = 'true';
		this.stages = new StageBar();
		this.foot.replaceChildren(this.stages.node);
	}

	// The text grew; it is rendered once a frame.
	grow() {
		this.stages.update({ stage: 'decode' });
		this.#frame ||= requestAnimationFrame(() => {
			this.#frame = 0;
			this.markdown.update(this.turn.text);
		});
	}

	finish() {
		const { text, calls, result } = this.turn;
		cancelAnimationFrame(this.#frame);
		this.node.ariaBusy = null;
		this.markdown.update(text);
		this.foot.replaceChildren(...calls.map(callBox), ending(result), result.timing ? measured(result.timing, result.usage) : '',
			el('div.actions', text && copyButton(() => text), link('Ask again', () => askAgain(this.turn))));
	}
}

function callBox({ id, function: { name, arguments: given } }) {
	const input = el('input', { 'aria-label': `Result of ${name}`, placeholder: 'Result of the function', required: true, dir: 'auto' });
	const onsubmit = (event) => {
		event.preventDefault();
		giveResult(id, input.value);
	};
	return el('div.code', { dir: 'ltr' },
		el('div.head', `Function call: ${name}`),
		el('pre', { tabIndex: 0, role: 'region', 'aria-label': 'Arguments' }, pretty(given)),
		el('form.row', { onsubmit }, input, el('button', 'Send')));
}

function ending({ error, stopped, finish }) {
	if (error) return el('p.problem', error);
	return el('p.remark', stopped ? 'Stopped.' : finish === 'length' && 'The reply reached the most tokens allowed.');
}

function pretty(json) {
	try {
		return JSON.stringify(JSON.parse(json), null, 2);
	} catch {
		return json;
	}
}
