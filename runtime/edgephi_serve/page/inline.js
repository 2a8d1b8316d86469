// Markdown inside a block: code, emphasis, links. One pass over the text, linear in its length.

import { el } from './dom.js';

const MAX_NESTING = 16;
const MAX_ADDRESS = 2000;
const PROTOCOLS = new Set(['http:', 'https:', 'mailto:']);
const ENTITIES = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&nbsp;': '\u00a0' };
const TAGS = { '*': ['em', 'strong'], _: ['em', 'strong'], '~': ['del', 'del'] };

/**
 * The address of a link, if it may be one: absolute, http, https or mailto, and without a user name, which serves to
 * make one host look like another.
 */
export function safeAddress(text) {
  if (text.length > MAX_ADDRESS || !/^(https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return PROTOCOLS.has(url.protocol) && !url.username && !url.password ? url.href : null;
  } catch {
    return null;
  }
}

function link(address, children) {
  return el('a', { href: address, target: '_blank', rel: 'noopener noreferrer nofollow', title: address }, children);
}

/** Render one block's text. @returns {Node[]} */
export function inline(text) {
  return new Scanner(text, true).run();
}

class Scanner {
  constructor(text, links) {
    this.text = text;
    this.links = links;
    this.at = 0;
    this.tokens = [];
    this.plain = '';
    this.openers = { '*': [], _: [], '~': [] };
    this.brackets = links ? matchBrackets(text) : new Map();
    this.ticks = tickRuns(text);
  }

  run() {
    const { text } = this;
    while (this.at < text.length) {
      if (!this.special(text[this.at])) {
        this.plain += text[this.at];
        this.at += 1;
      }
    }
    this.flush();
    return build(this.tokens);
  }

  flush() {
    if (this.plain) this.tokens.push({ node: document.createTextNode(this.plain) });
    this.plain = '';
  }

  push(node, length) {
    this.flush();
    this.tokens.push({ node });
    this.at += length;
    return true;
  }

  special(char) {
    switch (char) {
      case '\\': return this.escape();
      case '`': return this.code();
      case '\n': return this.lineBreak();
      case '&': return this.entity();
      case '*': case '_': case '~': return this.delimiter(char);
      case '!': return this.text[this.at + 1] === '[' && this.bracket(1);
      case '[': return this.bracket(0);
      case '<': return this.angle();
      case 'h': case 'H': return this.bare();
      default: return false;
    }
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === '\n') return this.push(el('br'), 2);
    if (next === undefined || !/[!-/:-@[-`{-~]/.test(next)) return false;
    this.plain += next;
    this.at += 2;
    return true;
  }

  code() {
    const run = this.ticks.length(this.at);
    const end = this.ticks.next(run, this.at + run);
    if (end < 0) {
      this.plain += '`'.repeat(run);
      this.at += run;
      return true;
    }
    let inner = this.text.slice(this.at + run, end).replaceAll('\n', ' ');
    if (/^ .* $/.test(inner) && inner.trim()) inner = inner.slice(1, -1);
    return this.push(el('code', { dir: 'ltr' }, inner), end + run - this.at);
  }

  lineBreak() {
    this.plain = this.plain.trimEnd();
    return this.push(el('br'), 1);
  }

  entity() {
    const found = Object.keys(ENTITIES).find((name) => this.text.startsWith(name, this.at));
    if (!found) return false;
    this.plain += ENTITIES[found];
    this.at += found.length;
    return true;
  }

  /** `[label](address)`, and `![label](address)` as a link to the image. */
  bracket(mark) {
    const open = this.at + mark;
    const close = this.brackets.get(open);
    if (close === undefined || this.text[close + 1] !== '(') return false;
    const end = this.text.slice(close + 2, close + 2 + MAX_ADDRESS).search(/[)\n]/);
    if (end < 0 || this.text[close + 2 + end] !== ')') return false;
    const inside = this.text.slice(close + 2, close + 2 + end).trim();
    const address = safeAddress(inside.split(/\s/)[0].replace(/^<|>$/g, ''));
    if (!address) return false;
    const label = this.text.slice(open + 1, close);
    const children = mark ? [`image: ${label || address}`] : new Scanner(label || address, false).run();
    return this.push(link(address, children), close + 3 + end - this.at);
  }

  angle() {
    if (!this.links) return false;
    const end = this.text.slice(this.at + 1, this.at + 1 + MAX_ADDRESS).search(/[>\s]/);
    if (end < 0) return false;
    const inside = this.text.slice(this.at + 1, this.at + 1 + end);
    const address = safeAddress(inside);
    return address !== null && this.text[this.at + 1 + end] === '>' && this.push(link(address, [inside]), end + 2);
  }

  /** An address that stands in the text without brackets. */
  bare() {
    const before = this.text[this.at - 1];
    if (!this.links || (before !== undefined && /[\p{L}\p{N}/]/u.test(before))) return false;
    const found = /^https?:\/\/[^\s<>"'`|\\^{}]+/i.exec(this.text.slice(this.at, this.at + MAX_ADDRESS));
    if (!found) return false;
    let shown = found[0];
    for (;;) {
      const last = shown.at(-1);
      const unopened = last === ')' && shown.split(')').length > shown.split('(').length;
      if (!unopened && !'.,;:!?*_~]'.includes(last)) break;
      shown = shown.slice(0, -1);
    }
    const address = safeAddress(shown);
    return address !== null && this.push(link(address, [shown]), shown.length);
  }

  delimiter(char) {
    const { text, at } = this;
    let run = 1;
    while (text[at + run] === char) run += 1;
    const before = text[at - 1] ?? ' ';
    const after = text[at + run] ?? ' ';
    const inWord = char === '_' && /[\p{L}\p{N}]/u.test(before) && /[\p{L}\p{N}]/u.test(after);
    const usable = !inWord && run <= 3 && (char !== '~' || run === 2);
    const canClose = usable && !/\s/.test(before);
    const canOpen = usable && !/\s/.test(after) && !(canClose && /[\p{L}\p{N}]/u.test(before) && /[\s\p{P}]/u.test(after));
    this.flush();
    const rest = canClose ? this.close(char, run) : run;
    if (rest) {
      const token = { text: char.repeat(rest) };
      this.tokens.push(token);
      if (canOpen) this.openers[char].push({ token, index: this.tokens.length - 1, run: rest });
    }
    this.at += run;
    return true;
  }

  /**
   * Match a closing run with the opening runs before it, innermost first; what was opened in between is plain text.
   * @returns {number} how many characters of the run are left over
   */
  close(char, run) {
    const stack = this.openers[char];
    let rest = run;
    while (stack.length && stack.at(-1).run <= rest && stack.at(-1).index < this.tokens.length - 1) {
      const opener = stack.pop();
      for (const other of Object.values(this.openers)) {
        while (other.length && other.at(-1).index > opener.index) other.pop();
      }
      opener.token.opens = opener.run === 3 ? TAGS[char] : [TAGS[char][opener.run - 1]];
      this.tokens.push({ closes: opener.token.opens.length });
      rest -= opener.run;
    }
    return rest;
  }
}

/** Where each `[` ends, or nothing for one that does not. */
function matchBrackets(text) {
  const ends = new Map();
  const open = [];
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '[') open.push(at);
    else if (text[at] === ']' && open.length) ends.set(open.pop(), at);
  }
  return ends;
}

/** The runs of backticks, so that the end of a code span is found without reading on for each. */
function tickRuns(text) {
  const starts = new Map();
  const byLength = new Map();
  for (const found of text.matchAll(/`+/g)) {
    starts.set(found.index, found[0].length);
    if (!byLength.has(found[0].length)) byLength.set(found[0].length, []);
    byLength.get(found[0].length).push(found.index);
  }
  return {
    length: (at) => starts.get(at) ?? 1,
    next(run, from) {
      const list = byLength.get(run) ?? [];
      while (list.length && list[0] < from) list.shift();
      return list.length ? list[0] : -1;
    },
  };
}

/** Nest the tokens: an element from each opening run to its end, as long as they are not too deep. */
function build(tokens) {
  const root = document.createDocumentFragment();
  const stack = [root];
  for (const token of tokens) {
    const top = stack.at(-1);
    if (token.node) top.append(token.node);
    else if (token.opens) {
      for (const tag of token.opens) {
        const next = stack.length > MAX_NESTING ? stack.at(-1) : el(tag);
        if (next !== stack.at(-1)) stack.at(-1).append(next);
        stack.push(next);
      }
    } else if (token.closes) stack.length -= token.closes;
    else top.append(token.text);
  }
  return [...root.childNodes];
}
