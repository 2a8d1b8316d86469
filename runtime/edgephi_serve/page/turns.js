// Turns of the conversation as DOM: what was sent, and the reply with its progress, text, calls and figures.

import { mediaItem } from './attachments.js';
import { copyButton, el, link } from './dom.js';
import { MarkdownView } from './markdown.js';
import { StageBar, measured } from './stages.js';

/** A message of the user, or the result of a function. */
export function userTurn(turn, chat) {
  return el('li', { class: 'turn user' },
    el('h2', { class: 'hidden' }, turn.role === 'tool' ? 'Result of the function' : 'You'),
    el('div', { class: 'bubble' }, turn.media.map((item) => mediaItem(item)), turn.text && el('p', { dir: 'auto' }, turn.text)),
    el('div', { class: 'actions' }, turn.role === 'user' && link('Edit', () => chat.edit(turn)), turn.text && copyButton(() => turn.text)));
}

/** A reply that grows, or that is complete. */
export class ReplyView {
  #frame = 0;

  constructor(turn, chat) {
    Object.assign(this, { turn, chat });
    this.content = el('div', { class: 'prose' });
    this.markdown = new MarkdownView(this.content);
    this.foot = el('div', {});
    this.node = el('li', { class: 'turn reply' }, el('h2', { class: 'hidden' }, 'Reply'), this.content, this.foot);
    this.finish();
  }

  begin() {
    this.node.ariaBusy = 'true';
    this.stages = new StageBar();
    this.foot.replaceChildren(this.stages.node);
  }

  /** The text grew; it is rendered once a frame. */
  grow() {
    this.stages.update({ stage: 'decode' });
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.markdown.update(this.turn.text);
    });
  }

  finish() {
    const { text, calls, result } = this.turn;
    cancelAnimationFrame(this.#frame);
    this.node.ariaBusy = null;
    this.markdown.update(text);
    this.foot.replaceChildren(...calls.map((call) => this.#call(call)), ...ending(result),
      ...(result.timing ? [measured(result.timing, result.usage)] : []),
      el('div', { class: 'actions' }, text && copyButton(() => text), link('Ask again', () => this.chat.again(this.turn))));
  }

  #call({ id, function: { name, arguments: given } }) {
    const input = el('input', { 'aria-label': `Result of ${name}`, placeholder: 'Result of the function', required: true, dir: 'auto' });
    const send = (event) => {
      event.preventDefault();
      this.chat.result(id, input.value);
    };
    return el('div', { class: 'code', dir: 'ltr' },
      el('div', { class: 'head' }, `Function call: ${name}`),
      el('pre', { tabIndex: 0, role: 'region', 'aria-label': 'Arguments' }, pretty(given)),
      el('form', { class: 'row', onsubmit: send }, input, el('button', {}, 'Send')));
  }
}

function ending({ error, stopped, finish }) {
  if (error) return [el('p', { class: 'problem' }, error)];
  if (stopped) return [el('p', { class: 'remark' }, 'Stopped.')];
  return finish === 'length' ? [el('p', { class: 'remark' }, 'The reply reached the most tokens allowed.')] : [];
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
