// Images and audio of a message: before it is sent, with their cost, and as they are shown afterwards.

import { forUpload, isAudio } from './audio.js';
import { cost } from './chat.js';
import { update } from './composer.js';
import { bytes, count, el, link, seconds, ui } from './dom.js';
import { base64, readImage } from './images.js';

const MAX_AUDIO_BYTES = 20e6;

export async function readAudio(file) {
	const sent = await forUpload(file);
	if (sent.size > MAX_AUDIO_BYTES) {
		throw new Error(`${file.name} is ${bytes(sent.size)}; a message takes ${bytes(MAX_AUDIO_BYTES)} of audio. Use Transcribe for long recordings.`);
	}
	return { data: await base64(sent), name: file.name };
}

export let items = [];
export let summary = '';

export async function addFile(file) {
	if (file.type.startsWith('image/')) add(await readImage(file));
	else if (isAudio(file)) add(await readAudio(file));
	else throw new Error(`${file.name} is neither an image nor audio.`);
}

export const add = (item) => attach([...items, item]);

// Images come first. They are shown, then their cost, unless others are attached by then.
export async function attach(chosen) {
	const asked = chosen.toSorted((one, other) => !one.url - !other.url);
	items = asked;
	show('');
	const { input_tokens: tokens, media = [], seconds: { encode = 0, prefill = 0 } = {} } = (asked.length && await cost(asked)) || {};
	if (!tokens || asked !== items) return;
	asked.forEach((item, i) => { item.plan = media[i]; });
	show(count(tokens, 'token') + (encode + prefill < 0.5 ? '' : `, about ${seconds(encode + prefill)} until the reply begins`));
}

function show(words) {
	summary = words;
	ui.attached.replaceChildren(...items.map((item) => mediaItem(item, item.url && detailOf(item), removalOf(item))));
	update();
}

function removalOf(item) {
	const remove = () => {
		attach(items.filter((other) => other !== item));
		ui.text.focus();
	};
	return link('Remove', remove, { ariaLabel: `Remove ${item.name}` });
}

function detailOf(image) {
	const onchange = ({ target }) => {
		image.detail = target.checked ? 'low' : 'auto';
		attach(items);
	};
	return el('label', el('input', { type: 'checkbox', checked: image.detail === 'low', onchange }), 'Low detail');
}

export function mediaItem(item, ...controls) {
	const { url, data, name, plan } = item;
	if (data) item.src ??= URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))]));
	return el('figure',
		url ? el('span.framed', el('img', { src: url, alt: name }), plan?.scaled && grid(plan))
			: el('audio', { controls: true, preload: 'metadata', src: item.src, 'aria-label': name }),
		el('figcaption', el('span', plan ? planInWords(plan) : name), controls));
}

// The grid may reach beyond the image: the rest is padding.
function grid({ crops: [columns, rows], scaled: [width, height] }) {
	const side = Math.max(width / columns, height / rows); // of a crop: the image fills the grid in one direction
	const lines = (number, length, name, edge) => Array.from({ length: number - 1 }, (_, i) => {
		const line = el(`span.${name}`);
		line.style[edge] = `${Math.min(100, (100 * (i + 1) * side) / length)}%`;
		return line;
	});
	return el('span.grid', { 'aria-hidden': 'true' }, lines(columns, width, 'across', 'left'), lines(rows, height, 'down', 'top'));
}

function planInWords({ crops: [columns, lines] = [], seconds: time, rows }) {
	const crops = columns && (columns * lines === 1 ? '1 crop' : `${columns} × ${lines} crops`);
	return [crops, time && seconds(time), rows && count(rows, 'token')].filter(Boolean).join(', ');
}
