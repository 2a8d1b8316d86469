// The chat: sends the conversation, shows the reply as it comes, and keeps both.

import { ApiError, getJson, stream } from './api.js';
import { Composer } from './composer.js';
import { Conversation, Turn } from './conversation.js';
import { announce, byId, el } from './dom.js';
import { progress } from './sse.js';
import { load, save } from './store.js';
import { ReplyView, userTurn } from './turns.js';

const PATH = 'v1/chat/completions';

export class Chat {
  #abort = null;
  #editing = null;
  #canMeasure = true;

  constructor(server) {
    this.server = server;
    this.list = byId('turns');
    this.composer = new Composer({
      server,
      cost: (attached) => this.#cost(attached),
      onSend: (message) => this.#sent(message),
      onStop: () => this.stop(),
      onCancel: () => this.#cancelEdit(),
    });
    this.conversation = restored();
    this.render();
    server.addEventListener('change', () => this.composer.update());
  }

  /** What the next message's attachments would cost; null where the server does not say. */
  async #cost({ images, audio }) {
    if (!this.#canMeasure || this.server.state !== 'ready') return null;
    const body = this.conversation.request([new Turn('user', { images, audio })]);
    try {
      return await getJson(`${PATH}/input_tokens`, { body });
    } catch (error) {
      if (error.status === 404 || error.status === 405) this.#canMeasure = false;
      else if (error.status === 400 || error.status === 413) this.composer.hint(error.message);
      return null;
    }
  }

  #sent(message) {
    if (this.#editing) this.#cutFrom(this.#editing);
    this.#editing = null;
    const turn = new Turn('user', message);
    this.conversation.turns.push(turn);
    this.list.append(userTurn(turn, this.#handlers()));
    this.#reply();
  }

  #handlers() {
    return {
      onEdit: (turn) => {
        if (this.#abort) return;
        this.#editing = turn;
        this.composer.edit(turn);
      },
      onRetry: (turn) => this.#again(turn),
      onContinue: (turn) => this.#continue(turn),
      onResult: (call, text) => this.#result(call, text),
    };
  }

  #cancelEdit() {
    this.#editing = null;
    this.composer.clear();
    this.composer.update();
  }

  /** Drop a turn and what follows it. */
  #cutFrom(turn) {
    this.conversation.turns.length = this.conversation.turns.indexOf(turn);
    while (this.list.children.length > this.conversation.turns.length) this.list.lastChild.remove();
  }

  #again(turn) {
    if (this.#abort) return;
    this.#cutFrom(turn);
    this.#reply();
  }

  /** Go on with a reply that was cut: the model continues the last turn. */
  #continue(turn) {
    if (this.#abort) return;
    const view = new ReplyView(turn, this.#handlers());
    this.list.children[this.conversation.turns.indexOf(turn)].replaceWith(view.node);
    this.#run(turn, view, this.conversation.turns);
  }

  #result(call, text) {
    if (this.#abort) return;
    const turn = new Turn('tool', { text, callId: call.id });
    this.conversation.turns.push(turn);
    this.list.append(userTurn(turn, this.#handlers()));
    this.#reply();
  }

  #reply() {
    const turn = new Turn('assistant');
    const view = new ReplyView(turn, this.#handlers());
    const asked = [...this.conversation.turns];
    this.conversation.turns.push(turn);
    this.list.append(view.node);
    return this.#run(turn, view, asked);
  }

  async #run(turn, view, asked) {
    byId('welcome').hidden = true;
    this.#abort = new AbortController();
    this.#busy(true);
    turn.result = {};
    view.begin();
    announce('Waiting for the reply');
    follow();
    try {
      const body = { ...this.conversation.request(asked), model: this.server.model?.id, stream: true, stream_options: { include_usage: true } };
      await this.#read(turn, view, body);
    } catch (error) {
      this.#failed(turn, error);
    }
    this.#abort = null;
    view.finish();
    this.#busy(false);
    this.#keep();
    announce(turn.result.error ?? (turn.text || 'The reply is complete'));
    follow();
  }

  async #read(turn, view, body) {
    for await (const event of stream(PATH, body, { signal: this.#abort.signal })) {
      const near = isNearEnd();
      if (event.comment !== undefined) {
        const stage = progress(event.comment);
        if (stage) view.progress(stage);
      } else this.#take(turn, view, event.chunk);
      if (near) follow();
    }
  }

  #take(turn, view, chunk) {
    const [choice] = chunk.choices ?? [];
    if (choice?.delta?.content) {
      turn.text += choice.delta.content;
      view.grow();
    }
    for (const { index, ...call } of choice?.delta?.tool_calls ?? []) turn.calls[index ?? turn.calls.length] = call;
    if (choice?.finish_reason) turn.result.finish = choice.finish_reason;
    if (chunk.edgephi?.timing) turn.result.timing = chunk.edgephi.timing;
    if (chunk.usage) turn.result.usage = chunk.usage;
  }

  #failed(turn, error) {
    if (error.name === 'AbortError') turn.result.stopped = true;
    else {
      turn.result.error = error.message;
      if (!(error instanceof ApiError)) throw error;
      this.server.report(error);
    }
  }

  stop() {
    this.#abort?.abort();
  }

  #busy(busy) {
    this.composer.busy = busy;
    this.list.classList.toggle('is-busy', busy);
    const { usage } = this.conversation.turns.at(-1)?.result ?? {};
    const most = this.server.model?.contextLength;
    if (usage && most) this.composer.context = `${usage.total_tokens.toLocaleString('en')} of ${most.toLocaleString('en')} tokens used`;
    this.composer.update();
  }

  render() {
    const { turns } = this.conversation;
    byId('welcome').hidden = turns.length > 0;
    const handlers = this.#handlers();
    this.list.replaceChildren(...turns.map((turn) => (turn.role === 'assistant' ? new ReplyView(turn, handlers).node : userTurn(turn, handlers))));
    this.composer.update();
  }

  /** Begin anew; the settings stay. */
  reset() {
    const before = this.conversation;
    const fresh = new Conversation();
    fresh.settings = before.settings;
    this.replace(fresh);
    this.composer.clear();
    if (before.turns.length) this.composer.hint('A new conversation.', el('button', { type: 'button', class: 'link', onclick: () => this.#undo(before) }, 'Bring the last one back'));
    this.composer.text.focus();
  }

  #undo(before) {
    this.replace(before);
    this.composer.hint(null);
  }

  replace(conversation) {
    this.stop();
    this.#editing = null;
    this.conversation = conversation;
    this.composer.context = '';
    this.render();
    this.#keep();
  }

  changeSettings(settings) {
    this.conversation.settings = settings;
    this.#keep();
  }

  /** Keep the conversation for a reload of this tab; without media if there is no room for them. */
  #keep() {
    const json = this.conversation.toJson();
    if (save('conversation', json)) return;
    const light = new Conversation();
    light.settings = this.conversation.settings;
    light.turns = this.conversation.turns.map((turn) => Object.assign(new Turn(turn.role), turn, { images: [], audio: [] }));
    save('conversation', light.toJson());
  }
}

function restored() {
  try {
    return Conversation.fromJson(load('conversation') ?? []);
  } catch {
    return new Conversation();
  }
}

const isNearEnd = () => window.innerHeight + window.scrollY > document.documentElement.scrollHeight - 120;

function follow() {
  requestAnimationFrame(() => window.scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' }));
}
