// The conversation as data: turns and settings, and their JSON, whose messages are OpenAI's.

const SAMPLING = ['temperature', 'top_p', 'top_k', 'repetition_penalty', 'seed', 'max_completion_tokens'];

export class Turn {
	media = []; // images, {url, name, detail} with a data: URL, and audio, {data, name} with base64
	calls = []; // as the API gives them: {id, type, function: {name, arguments}}
	result = {}; // of a reply: {finish, timing, usage, error, stopped}

	constructor(role, text = '', more = {}) {
		Object.assign(this, { role, text, ...more });
	}

	message() {
		const { role, text, media, calls, callId } = this;
		if (role === 'tool') return { role, tool_call_id: callId, content: text };
		if (role === 'assistant') return { role, content: text || null, ...(calls.length && { tool_calls: calls }) };
		if (!media.length) return { role, content: text };
		const content = media.map(({ url, detail, data }) => (
			url ? { type: 'image_url', image_url: { url, detail } } : { type: 'input_audio', input_audio: { data, format: 'wav' } }));
		if (text) content.push({ type: 'text', text });
		return { role, content };
	}
}

export class Conversation {
	turns = [];

	constructor(settings = {}) {
		this.settings = settings;
	}

	#messages(turns) {
		const { system } = this.settings;
		const filled = turns.filter(({ text, calls, media }) => text || calls.length || media.length);
		return [...(system ? [{ role: 'system', content: system }] : []), ...filled.map((turn) => turn.message())];
	}

	request(turns = this.turns) {
		const { max_crops: crops, tools } = this.settings;
		const body = { messages: this.#messages(turns) };
		for (const name of SAMPLING) if (this.settings[name]) body[name] = Number(this.settings[name]);
		if (crops) body.edgephi = { max_crops: Number(crops) };
		if (tools) body.tools = toolList(tools);
		return body;
	}

	toJSON() {
		return { settings: this.settings, messages: this.#messages(this.turns) };
	}

	// Of what `toJSON` gave, or of a plain list of the API's messages.
	static fromJson(value) {
		const list = Array.isArray(value) ? value : value?.messages;
		if (!Array.isArray(list)) throw new Error('it has no list of messages.');
		const settings = Object.entries(value.settings ?? {}).filter(([, setting]) => typeof setting === 'string');
		const conversation = new Conversation(Object.fromEntries(settings));
		list.forEach((message, i) => {
			const turn = readTurn(message, `message ${i + 1} has`);
			if (turn.role === 'system') conversation.settings.system = turn.text;
			else conversation.turns.push(turn);
		});
		return conversation;
	}
}

// Tools as the API takes them, from a list with or without the `function` wrapping.
export function toolList(text) {
	const list = JSON.parse(text);
	if (!Array.isArray(list)) throw new Error('it is no list');
	return list.map((tool) => (tool.type === 'function' ? tool : { type: 'function', function: tool }));
}

function readTurn(message, where) {
	const { role, content, tool_call_id: callId, tool_calls: calls } = message ?? {};
	if (!['system', 'user', 'assistant', 'tool'].includes(role)) throw new Error(`${where} no role that is known.`);
	const turn = new Turn(role, '', { callId });
	const texts = typeof content === 'string' ? [content] : [];
	for (const part of Array.isArray(content) ? content : []) {
		const { type, text, image_url: image, input_audio: audio } = part ?? {};
		if (type === 'text') texts.push(String(text));
		else if (String(image?.url).startsWith('data:image/')) turn.media.push({ url: image.url, name: 'image', detail: image.detail ?? 'auto' });
		else if (isBase64(audio?.data)) turn.media.push({ data: audio.data, name: 'audio' });
		else throw new Error(`${where} a part that cannot be shown: ${type}.`);
	}
	turn.text = texts.join('\n');
	if (Array.isArray(calls)) turn.calls = calls.filter((call) => typeof call?.function?.name === 'string');
	return turn;
}

function isBase64(text) {
	try {
		return typeof text === 'string' && atob(text) !== null;
	} catch {
		return false;
	}
}
