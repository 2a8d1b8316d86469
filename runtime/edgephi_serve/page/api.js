// Requests, streams, and values kept while the tab is open.

export function load(name) {
	try {
		return JSON.parse(sessionStorage.getItem(`edgephi.${name}`));
	} catch {
		return null;
	}
}

export function save(name, value) {
	try {
		sessionStorage.setItem(`edgephi.${name}`, JSON.stringify(value));
		return true;
	} catch {
		return false;
	}
}

// No success. `status` 0: no answer came, or not all of it.
export class ApiError extends Error {
	constructor(status, message, code) {
		super(message);
		Object.assign(this, { status, code });
	}
}

export const isAbort = (error) => error.name === 'AbortError';

// Send JSON, a form, or nothing. Paths are relative: a proxy may serve the page under a prefix.
export async function send(path, body, signal) {
	const key = load('key');
	const isForm = body instanceof FormData;
	const headers = { Accept: 'text/event-stream, */*' }; // for progress in streams
	if (!isForm) headers['Content-Type'] = 'application/json';
	if (key) headers.Authorization = `Bearer ${key}`;
	const response = await fetch(path, {
		method: body ? 'POST' : 'GET', headers, body: isForm ? body : JSON.stringify(body), signal, cache: 'no-store', credentials: 'omit',
	}).catch((error) => {
		throw isAbort(error) ? error : new ApiError(0, 'The server does not answer.');
	});
	if (response.ok) return response;
	const { error } = await response.json().catch(() => ({})); // A proxy's answer may be no JSON.
	throw new ApiError(response.status, error?.message ?? `The server answered ${response.status}.`, error?.code);
}

// Events, and comments of progress as {stage, done, total}. A stream without `[DONE]` or a last event broke off.
export async function* stream(path, body, signal, isLast = () => false) {
	const response = await send(path, body, signal);
	let ended = false;
	try {
		for await (const line of lines(response.body)) {
			const [, stage, done = 0, total = 0] = /^: ?([a-z]+)(?: (\d+)(?:\/(\d+))?)?$/.exec(line) ?? [];
			if (stage) yield { stage, done: Number(done), total: Number(total) };
			if (!line.startsWith('data:')) continue;
			const data = line.slice(5).trim();
			ended ||= data === '[DONE]';
			if (data === '[DONE]') continue;
			const event = JSON.parse(data);
			if (event.error) throw new ApiError(500, event.error.message, event.error.code);
			ended ||= isLast(event);
			yield event;
		}
	} catch (error) {
		if (isAbort(error) || error instanceof ApiError) throw error;
	}
	if (!ended && !signal.aborted) throw new ApiError(0, 'The connection to the server broke.');
}

async function* lines(body) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = '';
	try {
		for (;;) {
			const { value, done } = await reader.read();
			if (done) return;
			const found = (rest + value).split('\n');
			rest = found.pop();
			yield* found.map((line) => line.trimEnd());
		}
	} finally {
		reader.cancel().catch(() => {});
	}
}
