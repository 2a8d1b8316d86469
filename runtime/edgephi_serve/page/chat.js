// The chat: sends the conversation, shows the reply as it comes, and keeps both.

import { ApiError, load, save, send, stream } from './api.js';
import { Composer } from './composer.js';
import { Conversation, Turn } from './conversation.js';
import { announce, byId, follow, isNearEnd, link } from './dom.js';
import { ReplyView, userTurn } from './turns.js';

const PATH = 'v1/chat/completions';

export class Chat {
  #abort = null;
  #editing = null;
  #canMeasure = true;

  constructor(server) {
    this.server = server;
    this.list = byId('turns');
    this.composer = new Composer(server, this);
    server.addEventListener('change', () => this.composer.update());
    try {
      this.replace(Conversation.fromJson(load('conversation') ?? []));
    } catch {
      this.replace(new Conversation());
    }
  }

  /** What a message with these images and audio would cost; null where the server does not say. */
  async cost(media) {
    if (!this.#canMeasure || this.server.state !== 'ready') return null;
    try {
      const response = await send(`${PATH}/input_tokens`, this.conversation.request([new Turn('user', '', { media })]));
      return await response.json();
    } catch ({ status, message }) {
      if (status === 404) this.#canMeasure = false;
      else if (status === 400 || status === 413) this.composer.hint(message);
      return null;
    }
  }

  /** Send a message; it replaces the one that is edited, and what follows that. */
  send(message) {
    if (this.#editing) this.#cutFrom(this.#editing);
    this.#editing = null;
    this.#ask(new Turn('user', message.text, message));
  }

  /** Give the result of a function that was called. */
  result(callId, text) {
    if (!this.#abort) this.#ask(new Turn('tool', text, { callId }));
  }

  edit(turn) {
    if (this.#abort) return;
    this.#editing = turn;
    this.composer.edit(turn);
  }

  cancelEdit() {
    this.#editing = null;
    this.composer.clear();
  }

  /** Ask again for a reply. */
  again(turn) {
    if (this.#abort) return;
    this.#cutFrom(turn);
    this.#reply();
  }

  stop() {
    this.#abort?.abort();
  }

  #cutFrom(turn) {
    this.conversation.turns.length = this.conversation.turns.indexOf(turn);
    while (this.list.children.length > this.conversation.turns.length) this.list.lastChild.remove();
  }

  #ask(turn) {
    this.conversation.turns.push(turn);
    this.list.append(userTurn(turn, this));
    this.#reply();
  }

  async #reply() {
    const { conversation } = this;
    const asked = conversation.request(conversation.turns);
    const turn = new Turn('assistant');
    const view = new ReplyView(turn, this);
    conversation.turns.push(turn);
    this.list.append(view.node);
    const abort = new AbortController();
    this.#abort = abort;
    this.#busy(true);
    view.begin();
    announce('Waiting for the reply');
    follow();
    try {
      await this.#read(turn, view, { ...asked, model: this.server.model?.id, stream: true, stream_options: { include_usage: true } }, abort.signal);
    } catch (error) {
      this.#failed(turn, error);
    }
    const near = isNearEnd('chat');
    view.finish();
    if (this.#abort !== abort) return; // Another conversation is shown.
    this.#abort = null;
    this.#busy(false);
    this.#keep();
    announce(turn.result.error ?? (turn.text || 'The reply is complete'));
    if (near) follow();
  }

  async #read(turn, view, body, signal) {
    for await (const event of stream(PATH, body, signal)) {
      const near = isNearEnd('chat');
      if (event.stage) view.stages.update(event);
      else take(turn, view, event);
      if (near) follow();
    }
    turn.result.stopped = signal.aborted;
  }

  #failed(turn, error) {
    if (error.name === 'AbortError') turn.result.stopped = true;
    else turn.result.error = error.message;
    if (error instanceof ApiError) this.server.report(error);
  }

  #busy(busy) {
    byId('welcome').hidden = this.conversation.turns.length > 0;
    this.list.classList.toggle('is-busy', busy);
    const { usage } = this.conversation.turns.at(-1)?.result ?? {};
    const most = this.server.model?.contextLength;
    this.composer.context = usage && most ? `${usage.total_tokens.toLocaleString('en')} of ${most.toLocaleString('en')} tokens used` : '';
    this.composer.busy = busy;
    this.composer.update();
  }

  /** Begin anew; the settings stay. */
  reset() {
    const before = this.conversation;
    this.replace(new Conversation(before.settings));
    this.composer.clear();
    if (before.turns.length) this.composer.hint('A new conversation.', link('Bring the last one back', () => this.replace(before)));
    this.composer.text.focus();
  }

  replace(conversation) {
    this.stop();
    this.#abort = null;
    this.#editing = null;
    this.conversation = conversation;
    this.composer.hint(null);
    this.list.replaceChildren(...conversation.turns.map((turn) => (turn.role === 'assistant' ? new ReplyView(turn, this).node : userTurn(turn, this))));
    this.#busy(false);
    this.#keep();
  }

  changeSettings(settings) {
    this.conversation.settings = settings;
    this.#keep();
  }

  /** Keep the conversation for a reload of this tab; without media if there is no room for them. */
  #keep() {
    if (save('conversation', this.conversation.toJson())) return;
    const light = new Conversation(this.conversation.settings);
    light.turns = this.conversation.turns.map(({ role, text, calls, callId }) => new Turn(role, text, { calls, callId }));
    save('conversation', light.toJson());
  }
}

/** Add an event of the stream to the reply. */
function take(turn, view, { choices: [choice], edgephi, usage }) {
  const { delta, finish_reason: finish } = choice ?? {};
  if (delta?.content) {
    turn.text += delta.content;
    view.grow();
  }
  for (const { index, ...call } of delta?.tool_calls ?? []) turn.calls[index] = call;
  if (finish) turn.result.finish = finish;
  if (edgephi) turn.result.timing = edgephi.timing;
  if (usage) turn.result.usage = usage;
}
