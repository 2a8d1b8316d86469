// The state of the server: which model answers, or why none does.

import { ApiError, load, send } from './api.js';

const AGAIN_MS = 2000;
const AWAY = ['model_loading', 'server_shutting_down'];

// `state` is connecting, ready, loading, gone, key (one is needed or was refused) or refused (another answer, in
// `message`). While it is loading or gone, it is asked again by itself. `model` is {id, contextLength, image, audio}.
export const server = { state: 'connecting', model: null, message: '' };

const listeners = [];
let timer;

export const onChange = (listener) => listeners.push(listener);

function set(state, message = '') {
	Object.assign(server, { state, message });
	listeners.forEach((listener) => listener());
}

export async function check() {
	clearTimeout(timer);
	try {
		const [{ id, max_model_len: contextLength, architecture }] = (await (await send('v1/models')).json()).data;
		const inputs = architecture?.input_modalities ?? [];
		server.model = { id, contextLength, image: inputs.includes('image'), audio: inputs.includes('audio') };
		set('ready');
	} catch (error) {
		report(error instanceof ApiError ? error : new ApiError(500, 'The answer of /v1/models cannot be read.'));
	}
}

// Errors that concern only one request change nothing.
export function report({ status, code, message }) {
	if (status === 401) set('key', load('key') ? 'The server refused the key.' : 'This server needs a key.');
	else if (status === 0 || AWAY.includes(code)) {
		set(status ? 'loading' : 'gone', message);
		clearTimeout(timer);
		timer = setTimeout(check, AGAIN_MS);
	} else if (status === 403 || (status && server.state === 'connecting')) set('refused', message);
}

// Why this kind of input, image or audio, cannot be taken; null if it can.
export function missing(kind) {
	if (!server.model || server.model[kind]) return null;
	const [inputs, adapter] = kind === 'image' ? ['images', 'vision'] : ['audio', 'speech'];
	return `This model folder takes no ${inputs}. An export with the ${adapter} adapter does: edgephi export … --adapters ${adapter}.`;
}
