// The chat: sends the conversation, shows the reply as it comes, and keeps both.

import { isAbort, load, save, send, stream } from './api.js';
import * as composer from './composer.js';
import { Conversation, Turn } from './conversation.js';
import { announce, figure, link, scrollToEnd, ui, whileFollowing } from './dom.js';
import { report, server } from './server.js';
import { ReplyView, userTurn } from './turns.js';

const PATH = 'v1/chat/completions';

export let conversation = new Conversation();
let abort = null;
let edited = null;

// The cost of a message with these images and audio; null where the server does not say.
export async function cost(media) {
	if (server.state !== 'ready') return null;
	try {
		const response = await send(`${PATH}/input_tokens`, conversation.request([new Turn('user', '', { media })]));
		return await response.json();
	} catch ({ status, message }) {
		if (status === 400 || status === 413) composer.hint(message);
		return null;
	}
}

export function sendMessage(text, media) {
	if (edited) cutFrom(edited);
	edited = null;
	ask(new Turn('user', text, { media }));
}

export function giveResult(callId, text) {
	if (!abort) ask(new Turn('tool', text, { callId }));
}

export function edit(turn) {
	if (abort) return;
	edited = turn;
	composer.edit(turn);
}

export function cancelEdit() {
	edited = null;
	composer.clear();
}

export function askAgain(turn) {
	if (abort) return;
	cutFrom(turn);
	reply();
}

export const stop = () => abort?.abort();

function cutFrom(turn) {
	const { turns } = conversation;
	turns.length = turns.indexOf(turn);
	while (ui.turns.children.length > turns.length) ui.turns.lastChild.remove();
}

function ask(turn) {
	conversation.turns.push(turn);
	ui.turns.append(userTurn(turn));
	reply();
}

async function reply() {
	const request = { ...conversation.request(), model: server.model?.id, stream: true, stream_options: { include_usage: true } };
	const turn = new Turn('assistant');
	const view = new ReplyView(turn);
	conversation.turns.push(turn);
	ui.turns.append(view.node);
	const own = new AbortController();
	abort = own;
	show();
	view.begin();
	announce('Waiting for the reply');
	scrollToEnd();
	try {
		for await (const event of stream(PATH, request, own.signal)) whileFollowing('chat', () => take(turn, view, event));
		turn.result.stopped = own.signal.aborted;
	} catch (error) {
		if (isAbort(error)) turn.result.stopped = true;
		else turn.result.error = error.message;
		report(error);
	}
	whileFollowing('chat', () => view.finish());
	if (abort !== own) return; // Another conversation is shown.
	abort = null;
	show();
	keep();
	announce(turn.result.error ?? (turn.text || 'The reply is complete'));
}

function show() {
	const { turns } = conversation;
	ui.welcome.hidden = turns.length;
	ui.turns.classList.toggle('is-busy', abort);
	const used = turns.at(-1)?.result.usage?.total_tokens;
	const most = server.model?.contextLength;
	composer.setState(abort !== null, used && most ? `${figure(used)} of ${figure(most)} tokens used` : '');
}

export function reset() {
	const before = conversation;
	replace(new Conversation(before.settings));
	composer.clear();
	if (before.turns.length) composer.hint('A new conversation.', link('Bring the last one back', () => replace(before)));
	ui.text.focus();
}

export function replace(other) {
	stop();
	abort = edited = null;
	conversation = other;
	composer.hint();
	ui.turns.replaceChildren(...other.turns.map((turn) => (turn.role === 'assistant' ? new ReplyView(turn).node : userTurn(turn))));
	show();
	keep();
}

export function changeSetting(name, value) {
	conversation.settings = { ...conversation.settings, [name]: value };
	keep();
}

// For a reload of this tab; without media if there is no room for them.
function keep() {
	if (save('conversation', conversation)) return;
	const light = new Conversation(conversation.settings);
	light.turns = conversation.turns.map((turn) => new Turn(turn.role, turn.text, { ...turn, media: [] }));
	save('conversation', light);
}

export function restore() {
	try {
		replace(Conversation.fromJson(load('conversation') ?? []));
	} catch {
		replace(conversation);
	}
}

function take(turn, view, event) {
	if (event.stage) return view.stages.update(event);
	const { choices: [choice], edgephi, usage } = event;
	const { delta, finish_reason: finish } = choice ?? {};
	if (delta?.content) {
		turn.text += delta.content;
		view.grow();
	}
	for (const { index, ...call } of delta?.tool_calls ?? []) turn.calls[index] = call;
	if (finish) turn.result.finish = finish;
	if (edgephi) turn.result.timing = edgephi.timing;
	if (usage) turn.result.usage = usage;
}
