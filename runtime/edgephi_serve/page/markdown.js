// Markdown of the model's replies as DOM nodes. The text may be hostile: no node is made from a string of HTML, a link is
// http, https or mailto, an image is shown as its link (loading it would send a request), depth and work are bounded.

import { copyButton, el } from './dom.js';

const MAX_DEPTH = 8;
const MAX_INLINE = 8000; // letters of a paragraph in which marks are looked for
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?: (.*))?$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)(?:[-*+]|(\d{1,9})[.)])(?: +|$)/;
const TABLE = /^ {0,3}\|?( *:?-+:? *\|)+( *:?-+:? *)?$/;
const AUTO = { dir: 'auto' };

// Shows a growing text: only the blocks that differ are made again, usually the last.
export class MarkdownView {
	#blocks = [];

	constructor(container) {
		this.container = container;
	}

	update(text) {
		const next = blocks(text.replaceAll('\t', '    ').split(/\r?\n|\r/), 0);
		let same = 0;
		while (same < next.length && this.#blocks[same]?.source === next[same].source) same += 1;
		while (this.container.childNodes.length > same) this.container.lastChild.remove();
		this.container.append(...next.slice(same).map(({ make }) => make()));
		this.#blocks = next;
	}
}

function blocks(lines, depth) {
	const found = [];
	for (let at = 0; at < lines.length;) {
		if (lines[at].trim()) {
			const [end, make] = block(lines, at, depth);
			found.push({ source: lines.slice(at, end).join('\n'), make });
			at = end;
		} else at += 1;
	}
	return found;
}

const nodes = (lines, depth) => blocks(lines, depth + 1).map(({ make }) => make());

// The block that begins at a line: where it ends, and how it is made.
function block(lines, at, depth) {
	const line = lines[at];
	const [, fence, language] = FENCE.exec(line) ?? [];
	if (fence) return code(lines, at, fence, language.trim());
	const [, level, title = ''] = HEADING.exec(line) ?? [];
	if (level) return [at + 1, () => el(`h${Math.min(level.length + 2, 6)}`, AUTO, inline(title.trim().replace(/(^| )#+$/, '')))];
	if (RULE.test(line)) return [at + 1, () => el('hr')];
	if (depth < MAX_DEPTH && QUOTE.test(line)) {
		const end = endOf(lines, at, (each) => QUOTE.test(each));
		return [end, () => el('blockquote', AUTO, nodes(lines.slice(at, end).map((each) => each.replace(QUOTE, '')), depth))];
	}
	if (depth < MAX_DEPTH && ITEM.test(line)) return list(lines, at, depth);
	if (isTable(lines, at)) return table(lines, at);
	const end = endOf(lines, at + 1, (_, i) => !interrupts(lines, i));
	return [end, () => el('p', AUTO, inline(lines.slice(at, end).map((each) => each.trimStart()).join('\n')))];
}

function endOf(lines, from, goesOn) {
	let end = from;
	while (end < lines.length && goesOn(lines[end], end)) end += 1;
	return end;
}

const interrupts = (lines, at) => !lines[at].trim() || isTable(lines, at)
	|| [FENCE, HEADING, RULE, QUOTE, ITEM].some((start) => start.test(lines[at]));

function code(lines, at, fence, language) {
	const end = endOf(lines, at + 1, (line) => !(line.trim().startsWith(fence) && !line.trim().replaceAll(fence[0], '')));
	const text = lines.slice(at + 1, end).join('\n');
	return [end + 1, () => el('div.code', { dir: 'ltr' },
		el('div.head', el('span', language.slice(0, 30) || 'text'), copyButton(() => text)),
		el('pre', { tabIndex: 0, role: 'region', 'aria-label': 'Code' }, el('code', text)))];
}

function list(lines, at, depth) {
	const [, , start] = ITEM.exec(lines[at]);
	const items = [];
	let end = at;
	for (;;) {
		const [mark, indent, number] = ITEM.exec(lines[end] ?? '') ?? [];
		if (mark === undefined || !number !== !start || RULE.test(lines[end])) break;
		const from = end;
		end = itemEnd(lines, from + 1, indent.length + 2);
		items.push(lines.slice(from, end).map((line, i) => line.slice(i ? Math.min(mark.length, indentOf(line)) : mark.length)));
		if (ITEM.test(lines[end + 1] ?? '')) end += !lines[end].trim();
	}
	return [end, () => el(start ? 'ol' : 'ul', { ...AUTO, start: start && Number(start) }, items.map((item) => el('li', AUTO, nodes(item, depth))))];
}

const indentOf = (line) => line.length - line.trimStart().length;

// An item goes on over lines that are indented, and over blank lines before such a one.
function itemEnd(lines, from, indent) {
	let end = from;
	for (let at = from; at < lines.length; at += 1) {
		if (!lines[at].trim()) continue;
		if (indentOf(lines[at]) < indent && (end < at || interrupts(lines, at))) break;
		end = at + 1;
	}
	return end;
}

const isTable = (lines, at) => lines[at].includes('|') && TABLE.test(lines[at + 1] ?? '')
	&& cells(lines[at]).length === cells(lines[at + 1]).length;

const cells = (line) => line.trim().replace(/^\||(?<!\\)\|$/g, '').split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));

function table(lines, at) {
	const end = endOf(lines, at + 2, (line) => line.includes('|'));
	const sides = cells(lines[at + 1]).map((mark) => (/^-.*:$/.test(mark) ? '.at-end' : ''));
	const row = (name, line, given = cells(line)) => el('tr', sides.map((side, i) => el(name + side, AUTO, inline(given[i] ?? ''))));
	return [end, () => el('div.scroll', { tabIndex: 0, role: 'region', 'aria-label': 'Table' }, el('table',
		el('thead', row('th', lines[at])), el('tbody', lines.slice(at + 2, end).map((line) => row('td', line)))))];
}

const LABEL = 100; // the depth of a link's label, in which there are no links
const STYLES = { '*': 'em', '**': 'strong', _: 'em', __: 'strong', '~~': 'del' };
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', '#39': "'" };
const styled = ([, mark, text], depth) => el(STYLES[mark], inline(text, depth));
const bare = ([match, address = match], depth) => link(address, [address], depth);

// The letters that may begin a mark; each mark, and its node, or null where it is none after all.
const MARK = /[\\`*_~![<&\nh]/g;
const MARKS = [
	[/\\([!-/:-@[-`{-~])/y, ([, letter]) => letter],
	[/\\?\n/y, () => el('br')],
	[/(?<!`)(`+)(?!`)([^]*?[^`])\1(?!`)/y, ([, , text]) => el('code', { dir: 'ltr' }, text.replaceAll('\n', ' ').replace(/^ (.+) $/, '$1'))],
	[/(?<!\*)(\*\*)(?=\S)((?:[^*`]|`[^`]*`|\*[^*]+\*)+?)(?<=\S)\*\*/y, styled],
	[/(?<!\*)(\*)(?=[^\s*])((?:[^*`]|`[^`]*`|\*\*[^*]+\*\*)+?)(?<=\S)\*(?!\*)/y, styled],
	[/(?<![\p{L}\p{N}_])(__?)(?=[^\s_])([^_]*[^_\s])\1(?![\p{L}\p{N}_])/uy, styled],
	[/(~~)(?=\S)([^~]*[^~\s])~~/y, styled],
	[/(!?)\[([^[\]]*)\]\( *<?((?:[^\s()<>]|\([^\s()<>]*\))+)>?(?: +["'][^\n)]*)?\)/y, ([, image, label, address], depth) => (
		link(address, image ? [`image: ${label || address}`] : inline(label || address, Math.max(depth, LABEL)), depth))],
	[/<((?:https?:\/\/|mailto:)[^\s<>]+)>/iy, bare],
	[/(?<![\p{L}\p{N}/])https?:\/\/(?:[^\s<>"'`|\\^{}()]|\([^\s<>()]*\))*(?:[^\s<>"'`|\\^{}()\].,;:!?*_~]|\([^\s<>()]*\))/iuy, bare],
	[/&(amp|lt|gt|quot|nbsp|#39);/y, ([, name]) => ENTITIES[name]],
];

function inline(text, depth = 0) {
	const found = [];
	let end = 0;
	const read = depth % LABEL < MAX_DEPTH ? text.slice(0, MAX_INLINE) : '';
	for (const { index } of read.matchAll(MARK)) {
		for (const [mark, make] of index < end ? [] : MARKS) {
			mark.lastIndex = index;
			const match = mark.exec(read);
			const node = match && make(match, depth + 1);
			if (node) {
				found.push(text.slice(end, index), node);
				end = index + match[0].length;
				break;
			}
		}
	}
	return [...found, text.slice(end)];
}

// Null for other links, and for those with a user name, which makes one host look like another.
function link(address, children, depth) {
	const url = depth < LABEL && /^(https?:\/\/|mailto:)/i.test(address) ? URL.parse(address) : null;
	if (!url || url.username || url.password) return null;
	return el('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer', title: url.href }, children);
}
