// Turns of the conversation as DOM: what was sent, and the reply with its progress, text, calls and figures.

import { audioBody } from './attachments.js';
import { imageWithCrops, planInWords } from './crops.js';
import { copyButton, el, iconButton } from './dom.js';
import { MarkdownView } from './markdown.js';
import { StageBars, measured } from './stages.js';
import { viewImage } from './viewer.js';

/** A turn of the user, or a result of a tool. */
export function userTurn(turn, { onEdit }) {
  const media = [...turn.images.map(imageItem), ...turn.audio.map(audioItem)];
  const actions = el('div', { class: 'turn-actions' },
    turn.role === 'user' ? iconButton('edit', 'Edit this message', () => onEdit(turn)) : null,
    turn.text ? copyButton('Copy this message', () => turn.text) : null);
  return el('li', { class: 'turn user' },
    el('h2', { class: 'hidden' }, turn.role === 'tool' ? 'Result of the function' : 'You'),
    el('div', { class: 'bubble' },
      media.length ? el('div', { class: 'media' }, media) : null,
      turn.text ? el('p', { dir: 'auto', class: 'said' }, turn.text) : null),
    actions);
}

function imageItem(image) {
  return el('button', { type: 'button', class: 'thumb', 'aria-label': `Look at ${image.name}`, onclick: () => viewImage(image, () => image.plan ?? null) },
    imageWithCrops(image, image.plan), image.plan ? el('span', { class: 'caption' }, planInWords(image.plan)) : null);
}

function audioItem(audio) {
  const bytes = Uint8Array.from(atob(audio.data), (char) => char.charCodeAt(0));
  const player = el('audio', { controls: true, preload: 'metadata', src: URL.createObjectURL(new Blob([bytes])), 'aria-label': audio.name });
  return el('div', { class: 'sound-item' }, audioBody(audio), player);
}

const ENDINGS = {
  length: 'The reply reached the most tokens allowed.',
  content_filter: 'The reply was cut.',
};

/** A reply that grows, or that is complete. */
export class ReplyView {
  #frame = 0;

  /** @param {Turn} turn @param {{onRetry, onContinue, onResult}} handlers each called with the turn */
  constructor(turn, handlers) {
    this.turn = turn;
    this.handlers = handlers;
    this.content = el('div', { class: 'prose' });
    this.calls = el('div', { class: 'calls' });
    this.foot = el('div', { class: 'reply-foot' });
    this.markdown = new MarkdownView(this.content);
    this.node = el('li', { class: 'turn reply' }, el('h2', { class: 'hidden' }, 'Reply'), this.content, this.calls, this.foot);
    if (!turn.empty || turn.result) this.finish();
  }

  /** Show the bars until the first `finish`. */
  begin() {
    this.node.setAttribute('aria-busy', 'true');
    this.bars = new StageBars();
    this.foot.replaceChildren(this.bars.node);
  }

  progress(stage) {
    this.bars.update(stage);
  }

  /** The text grew; rendered once a frame. */
  grow() {
    this.bars.decoding();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.markdown.update(this.turn.text);
    });
  }

  finish() {
    cancelAnimationFrame(this.#frame);
    this.bars?.end();
    this.node.removeAttribute('aria-busy');
    this.markdown.update(this.turn.text);
    this.calls.replaceChildren(...this.turn.calls.map((call) => this.#call(call)));
    this.foot.replaceChildren(...[this.#ending(), this.#figures(), this.#actions()].filter(Boolean));
  }

  #call(call) {
    const form = el('form', { class: 'result', onsubmit: (event) => {
      event.preventDefault();
      this.handlers.onResult(call, input.value);
    } });
    const input = el('input', { type: 'text', 'aria-label': `Result of ${call.function.name}`, placeholder: 'Result of the function', required: true });
    form.append(input, el('button', { type: 'submit', class: 'button' }, 'Send'));
    return el('div', { class: 'call' }, el('p', { class: 'call-name' }, 'Function call: ', el('code', {}, call.function.name)),
      el('pre', { tabIndex: 0, role: 'region', 'aria-label': 'Arguments', dir: 'ltr' }, pretty(call.function.arguments)), form);
  }

  #ending() {
    const { error, stopped, finish } = this.turn.result ?? {};
    if (error) return el('p', { class: 'problem' }, error);
    if (stopped) return el('p', { class: 'remark' }, 'Stopped.');
    if (!(finish in ENDINGS)) return null;
    const more = el('button', { type: 'button', class: 'link', onclick: () => this.handlers.onContinue(this.turn) }, 'Continue');
    return el('p', { class: 'remark' }, ENDINGS[finish], ' ', finish === 'length' ? more : null);
  }

  #figures() {
    const { timing, usage } = this.turn.result ?? {};
    return timing ? measured(timing, usage) : null;
  }

  #actions() {
    return el('div', { class: 'turn-actions' },
      this.turn.text ? copyButton('Copy this reply', () => this.turn.text) : null,
      iconButton('retry', 'Ask again for this reply', () => this.handlers.onRetry(this.turn)));
  }
}

function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
