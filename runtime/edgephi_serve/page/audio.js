// Audio from the microphone and from files; those that the server may not read become WAV here.

import { announce, button, clock, el } from './dom.js';

export const RATE = 16000;
const READ_BY_THE_SERVER = /\.(wav|flac|mp3|og[ga]|opus|aiff?|au|caf|webm)$/i;
const OTHER = /\.(m4a|aac|mp4|mov|wma|amr)$/i;
const MAX_DECODED_BYTES = 64e6;

export const isAudio = (file) => /^(audio|video)\//.test(file.type) || READ_BY_THE_SERVER.test(file.name) || OTHER.test(file.name);

async function toWav(blob) {
	const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
	const channels = Array.from({ length: decoded.numberOfChannels }, (_, channel) => decoded.getChannelData(channel));
	return wav([pcm(channels[0].map((_, i) => channels.reduce((sum, samples) => sum + samples[i], 0) / channels.length))], 'recording');
}

const pcm = (samples) => Int16Array.from(samples, (sample) => Math.round(Math.max(-1, Math.min(1, sample)) * 32767));

export function wav(blocks, name) {
	const data = new Blob(blocks);
	const header = Uint32Array.of(0x46464952, 36 + data.size, 0x45564157, 0x20746d66, 16, 0x10001, RATE, RATE * 2, 0x100002, 0x61746164, data.size);
	return new File([header, data], `${name}.wav`, { type: 'audio/wav' });
}

// The file itself if the server reads it or the browser cannot, or if it is too large to decode.
export async function forUpload(file) {
	if (READ_BY_THE_SERVER.test(file.name) || file.size > MAX_DECODED_BYTES) return file;
	return toWav(file).catch(() => file);
}

// Open a microphone or camera. Errors of all modules have one line for the user.
export async function openDevice(noun, constraints) {
	if (!navigator.mediaDevices) {
		throw new Error(`The browser allows a ${noun} only on https or localhost. Open this page as https (start the server with `
			+ '--tls-cert and --tls-key), or on the machine itself as http://localhost. Files can be added either way.');
	}
	try {
		return await navigator.mediaDevices.getUserMedia(constraints);
	} catch ({ name, message }) {
		if (name === 'NotAllowedError') throw new Error(`The ${noun} is blocked. Allow it for this page in the browser’s site settings.`);
		if (name === 'NotFoundError' || name === 'OverconstrainedError') throw new Error(`No ${noun} was found.`);
		throw new Error(`The ${noun} cannot be used: ${message}`);
	}
}

export const release = (stream) => stream.getTracks().forEach((track) => track.stop());

// Open the microphone: `onBlock(pcm, level)` gets 0.1 s at RATE and their level in 0 ... 1. The device has `isPaused`,
// `onended`, which is called if it goes away, and `stop()`.
export async function listen(onBlock) {
	const context = new AudioContext();
	try {
		// Where worklets are absent, no device is allowed.
		await context.audioWorklet?.addModule(new URL('capture.js', import.meta.url)).catch(() => {
			throw new Error('The server does not answer.');
		});
		const stream = await openDevice('microphone', { audio: { channelCount: 1 } });
		const device = { isPaused: false };
		device.stop = () => {
			device.isPaused = true;
			release(stream);
			context.close().catch(() => {});
		};
		const node = new AudioWorkletNode(context, 'capture', { channelCount: 1, channelCountMode: 'explicit' });
		node.port.onmessage = ({ data }) => device.isPaused || onBlock(pcm(data), loudness(data));
		context.createMediaStreamSource(stream).connect(node).connect(context.destination);
		stream.getTracks()[0].onended = () => device.onended?.();
		return device;
	} catch (error) {
		context.close();
		throw error;
	}
}

// Root mean square on a scale of 60 dB.
const loudness = (samples) => 1 + Math.log10(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length + 1e-9) / 6;

// A recording of the microphone as WAV, or null if the user discards it; `container` shows time and level.
export async function record(container) {
	const blocks = [];
	const time = el('span');
	const meter = el('meter', { max: 1, 'aria-label': 'Level' });
	const device = await listen((block, level) => {
		time.textContent = clock(blocks.push(block) / 10);
		meter.value = level;
	});
	announce('Recording');
	const isKept = await new Promise((resolve) => {
		const done = button('Done', () => resolve(true), '.primary');
		container.replaceChildren(time, meter, button('Discard', () => resolve(false)), done);
		container.onkeydown = ({ key }) => {
			if (key === 'Escape') resolve(false);
		};
		done.focus();
	});
	device.stop();
	container.replaceChildren();
	return isKept ? wav(blocks, 'recording') : null;
}
