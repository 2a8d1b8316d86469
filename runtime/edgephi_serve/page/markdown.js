// Markdown of the model's replies: text -> blocks -> DOM nodes.
// The text is hostile until proven otherwise: no node is made from a string of HTML, a link is http, https or mailto,
// an image is shown as its link (loading it would send a request elsewhere), and depth and work are bounded.

import { copyButton, el } from './dom.js';
import { inline } from './inline.js';

const MAX_DEPTH = 8;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const FENCE = /^ {0,3}(`{3,}|~{3,})([^`]*)$/;
const RULE = /^ {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const QUOTE = /^ {0,3}>/;

/**
 * Split text into blocks that are rendered one by one.
 * @returns {{type: string, source: string}[]} with what each type needs beside.
 */
export function blocks(text) {
  return readBlocks(text.replaceAll('\t', '    ').split(/\r\n|\r|\n/), 0);
}

function readBlocks(lines, depth) {
  const found = [];
  for (let at = 0; at < lines.length;) {
    if (lines[at].trim() === '') {
      at += 1;
      continue;
    }
    const [block, end] = readBlock(lines, at, depth);
    block.source = `${depth ? '' : lines.slice(at, end).join('\n')}`;
    found.push(block);
    at = end;
  }
  return found;
}

function readBlock(lines, at, depth) {
  const line = lines[at];
  if (FENCE.test(line)) return readFence(lines, at);
  if (HEADING.test(line)) return [readHeading(line), at + 1];
  if (RULE.test(line)) return [{ type: 'rule' }, at + 1];
  if (depth < MAX_DEPTH && QUOTE.test(line)) return readQuote(lines, at, depth);
  if (depth < MAX_DEPTH && ITEM.test(line)) return readList(lines, at, depth);
  if (isTable(lines, at)) return readTable(lines, at);
  let end = at + 1;
  while (end < lines.length && !interrupts(lines, end)) end += 1;
  return [{ type: 'paragraph', text: lines.slice(at, end).map((each) => each.trimStart()).join('\n') }, end];
}

function interrupts(lines, at) {
  const line = lines[at];
  return line.trim() === '' || FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)
    || ITEM.test(line) || isTable(lines, at);
}

function readFence(lines, at) {
  const [, fence, language] = FENCE.exec(lines[at]);
  const closes = (line) => {
    const trimmed = line.trim();
    return trimmed.length >= fence.length && trimmed === fence[0].repeat(trimmed.length);
  };
  let end = at + 1;
  while (end < lines.length && !closes(lines[end])) end += 1;
  const block = { type: 'code', language: language.trim().split(' ')[0].slice(0, 30), text: lines.slice(at + 1, end).join('\n') };
  return [block, Math.min(end + 1, lines.length)];
}

function readHeading(line) {
  const trimmed = line.trim();
  const level = HEADING.exec(trimmed)[1].length;
  let text = trimmed.slice(level).trim();
  const bare = text.replace(/#+$/, '');
  if (bare === '' || bare.endsWith(' ')) text = bare.trimEnd();
  return { type: 'heading', level, text };
}

function readQuote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(/^ {0,3}> ?/, ''));
  return [{ type: 'quote', blocks: readBlocks(inner, depth + 1) }, end];
}

function readList(lines, at, depth) {
  const [, indent, first] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(first);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const found = ITEM.exec(lines[end]);
    if (!found || /\d/.test(found[2]) !== ordered || RULE.test(lines[end])) break;
    if (Math.abs(found[1].length - indent.length) > 1) break;
    const width = found[0].length;
    const start = end;
    end = itemEnd(lines, start + 1, found[1].length + 2);
    const inner = lines.slice(start, end).map((line, i) => (i ? unindent(line, width) : line.slice(width)));
    items.push(readBlocks(inner, depth + 1));
    while (end < lines.length && lines[end].trim() === '' && ITEM.test(lines[end + 1] ?? '')) end += 1;
  }
  return [{ type: 'list', ordered, start: ordered ? parseInt(first, 10) : 1, items }, end];
}

/** The end of an item: it goes on over lines that are indented, and over a blank line before such a one. */
function itemEnd(lines, from, indent) {
  let end = from;
  let blank = false;
  for (let at = from; at < lines.length; at += 1) {
    const line = lines[at];
    if (line.trim() === '') {
      blank = true;
      continue;
    }
    const indented = line.length - line.trimStart().length >= indent;
    if (!indented && (blank || interrupts(lines, at))) break;
    blank = false;
    end = at + 1;
  }
  return end;
}

const unindent = (line, width) => line.slice(Math.min(width, line.length - line.trimStart().length));

function cells(line) {
  const trimmed = line.trim().replace(/^\|/, '').replace(/(^|[^\\])\|$/, '$1');
  return trimmed.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));
}

function isTable(lines, at) {
  const under = lines[at + 1];
  if (under === undefined || !lines[at].includes('|') || !under.includes('-') || !/^[ |:-]+$/.test(under)) return false;
  const marks = cells(under);
  return marks.every((mark) => /^:?-+:?$/.test(mark)) && marks.length === cells(lines[at]).length;
}

function readTable(lines, at) {
  const aligned = cells(lines[at + 1]).map((mark) => {
    if (mark.endsWith(':')) return mark.startsWith(':') ? 'center' : 'end';
    return 'start';
  });
  let end = at + 2;
  while (end < lines.length && lines[end].trim() !== '' && lines[end].includes('|')) end += 1;
  const rows = lines.slice(at + 2, end).map((line) => cells(line).slice(0, aligned.length));
  return [{ type: 'table', aligned, head: cells(lines[at]), rows }, end];
}

const AUTO = { dir: 'auto' };

const RENDER = {
  paragraph: (block) => el('p', AUTO, inline(block.text)),
  heading: (block) => el(`h${Math.min(block.level + 2, 6)}`, AUTO, inline(block.text)),
  rule: () => el('hr'),
  quote: (block) => el('blockquote', AUTO, block.blocks.map(render)),
  list: (block) => el(block.ordered ? 'ol' : 'ul', { ...AUTO, start: block.ordered ? block.start : null }, block.items.map(renderItem)),
  code: renderCode,
  table: renderTable,
};

export const render = (block) => RENDER[block.type](block);

/** An item of one paragraph needs no paragraph of its own. */
function renderItem(item) {
  const [first, ...rest] = item;
  if (first?.type === 'paragraph') return el('li', AUTO, inline(first.text), rest.map(render));
  return el('li', AUTO, item.map(render));
}

function renderCode(block) {
  const code = el('code', {}, block.text);
  const head = el('div', { class: 'code-head' }, el('span', {}, block.language || 'text'), copyButton('Copy this code', () => block.text));
  return el('div', { class: 'code', dir: 'ltr' }, head, el('pre', { tabIndex: 0, role: 'region', 'aria-label': 'Code' }, code));
}

function renderTable(block) {
  const row = (name, texts) => el('tr', {}, block.aligned.map((side, i) => el(name, { dir: 'auto', class: `at-${side}` }, inline(texts[i] ?? ''))));
  const table = el('table', {}, el('thead', {}, row('th', block.head)), el('tbody', {}, block.rows.map((texts) => row('td', texts))));
  return el('div', { class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Table' }, table);
}

/** Shows a growing text: of a new version only the blocks that differ are rendered again, usually the last. */
export class MarkdownView {
  #blocks = [];

  constructor(container) {
    this.container = container;
  }

  update(text) {
    const next = blocks(text);
    let same = 0;
    while (same < next.length && this.#blocks[same]?.source === next[same].source) same += 1;
    while (this.container.childNodes.length > same) this.container.lastChild.remove();
    this.container.append(...next.slice(same).map(render));
    this.#blocks = next;
  }
}
