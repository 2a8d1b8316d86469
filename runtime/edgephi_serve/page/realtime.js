// A session of live captions: audio out, events in, as in OpenAI's Realtime interface for transcription.

import { ApiError, load, send } from './api.js';
import { RATE } from './audio.js';

const PATH = 'v1/realtime?intent=transcription';
const SESSION = { type: 'transcription', audio: { input: { format: { type: 'audio/pcm', rate: RATE } } }, include: ['edgephi.tail'] };

export class RealtimeSession {
	#early = []; // audio from before the session was open; null afterwards
	#open = new Set(); // ids of items without their last event
	#updates = 0; // without their answer
	#isEnding = false;
	#error = null;

	// `onEnd(error)` is called once, with null if the page ended the session.
	constructor(onEvent, onEnd) {
		this.onEvent = onEvent;
		const key = load('key');
		const url = new URL(PATH, document.baseURI).href.replace(/^http/, 'ws');
		try {
			this.socket = new WebSocket(url, ['realtime', ...(key ? [`openai-insecure-api-key.${key}`] : [])]);
		} catch {
			throw new Error('A browser can send this key with requests, but not with live captions: there it may have letters, digits and - . _ ~ only.');
		}
		this.socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
		this.socket.onclose = async () => onEnd(this.#isEnding ? null : this.#error ?? await this.#reason());
	}

	#send(type, more) {
		if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ type, ...more }));
	}

	push(block) {
		if (this.#early) this.#early.push(block);
		else this.#send('input_audio_buffer.append', { audio: btoa(String.fromCharCode(...new Uint8Array(block.buffer))) });
	}

	commit() {
		this.#send('input_audio_buffer.commit', { event_id: 'commit' });
	}

	// Close once everything said so far is written down; at once if that was asked for before.
	end() {
		if (this.#isEnding || this.#early) this.socket.close();
		this.#isEnding = true;
		this.commit();
		this.#update(); // Its answer comes after all events of the commit.
	}

	#update() {
		this.#updates += 1;
		this.#send('session.update', { session: SESSION });
	}

	#take(event) {
		const { type, item_id: id, error } = event;
		if (type === 'session.created') {
			const blocks = this.#early;
			this.#early = null;
			this.#update();
			blocks.forEach((block) => this.push(block));
		} else if (type === 'session.updated') this.#updates -= 1;
		else if (type === 'error' && error.event_id === 'commit') return; // Nothing was said.
		this.#error = type === 'error' && error.code !== 'falling_behind' ? new ApiError(500, error.message, error.code) : null;
		if (/transcription\.(completed|failed)$/.test(type)) this.#open.delete(id);
		else if (/speech_started|committed/.test(type)) this.#open.add(id);
		this.onEvent(event);
		if (this.#isEnding && !this.#updates && !this.#open.size) this.socket.close();
	}

	// A browser does not say why a connection was refused, but the server answers a plain request.
	async #reason() {
		if (!this.#early) return new ApiError(0, 'The connection to the server broke.');
		const error = await send(PATH).catch((answer) => answer);
		if (error.status !== 426) return error;
		return new ApiError(429, 'The server has no free place for live captions. End them elsewhere, or try again later.');
	}
}
