// A transcript as files: SubRip, WebVTT, plain text, JSON.

import { button, copyButton, download, el } from './dom.js';

const LINE = 42; // letters

function stamp(seconds, point) {
	const time = new Date(Math.round(seconds * 1000)).toISOString(); // 1970-01-01T00:00:02.500Z
	const hours = String(Math.floor(seconds / 3600)).padStart(2, '0');
	return hours + time.slice(13, 19) + point + time.slice(20, 23);
}

// Lines of about equal length, none longer than LINE unless a word is.
function wrap(text) {
	const aim = Math.min(LINE, text.length / Math.ceil(text.length / LINE) + 4);
	const lines = [''];
	for (const word of text.split(/\s+/)) {
		const longer = `${lines.at(-1)} ${word}`.trim();
		if (longer.length > aim && lines.at(-1)) lines.push(word);
		else lines[lines.length - 1] = longer;
	}
	return lines.join('\n');
}

const cues = (segments, point, escape) => segments.map(({ start, end, text }, i) => (
	`${i + 1}\n${stamp(start, point)} --> ${stamp(end, point)}\n${wrap(escape(text))}\n`)).join('\n');

const asEntities = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const FORMATS = {
	srt: ['application/x-subrip', (segments) => cues(segments, ',', (text) => text.replaceAll('-->', '->'))],
	vtt: ['text/vtt', (segments) => `WEBVTT\n\n${cues(segments, '.', asEntities)}`],
	txt: ['text/plain', (segments) => segments.map(({ text }) => `${text}\n`).join('')],
	json: ['application/json', (segments) => JSON.stringify({ segments: segments.map(({ start, end, text }) => ({ start, end, text })) }, null, 1)],
};

// `spoken()` gives the segments as they are now.
export function offerFiles(container, base, spoken) {
	const buttons = Object.entries(FORMATS).map(([name, [type, write]]) => button(name, () => download(`${base}.${name}`, type, write(spoken()))));
	container.replaceChildren(el('span.remark', 'Save as'), ...buttons, copyButton(() => FORMATS.txt[1](spoken())));
}
