// The conversation as data: turns, the system text and the settings, and their JSON, whose messages are OpenAI's.

const FORMAT = 'edgephi.conversation';

/** Settings that go into a request as they are; an empty one is left to the model's own recommendation. */
export const SAMPLING = ['temperature', 'top_p', 'top_k', 'repetition_penalty', 'seed', 'max_completion_tokens'];

export class Turn {
  constructor(role, { text = '', images = [], audio = [], calls = [], callId = null } = {}) {
    this.role = role;
    this.text = text;
    this.images = images; // {url, name, detail}; `url` is a data: URL
    this.audio = audio; // {data, name, seconds}; `data` is base64 of a WAV
    this.calls = calls; // as the API gives them: {id, type, function: {name, arguments}}
    this.callId = callId; // of a tool's turn
    this.result = null; // of a reply: {finish, timing, usage, error, stopped}
  }

  /** The turn as a message of the API. */
  message() {
    if (this.role === 'tool') return { role: 'tool', tool_call_id: this.callId, content: this.text };
    if (this.role === 'assistant') {
      return { role: 'assistant', content: this.text || null, ...(this.calls.length ? { tool_calls: this.calls } : {}) };
    }
    if (!this.images.length && !this.audio.length) return { role: this.role, content: this.text };
    return {
      role: this.role,
      content: [
        ...this.images.map(({ url, detail }) => ({ type: 'image_url', image_url: { url, detail } })),
        ...this.audio.map(({ data }) => ({ type: 'input_audio', input_audio: { data, format: 'wav' } })),
        ...(this.text ? [{ type: 'text', text: this.text }] : []),
      ],
    };
  }

  get empty() {
    return !this.text && !this.calls.length && !this.images.length && !this.audio.length;
  }
}

export class Conversation {
  constructor() {
    this.turns = [];
    this.settings = {}; // system, tools (JSON text), max_crops, and those of SAMPLING, each as text
  }

  messages(turns = this.turns) {
    const system = this.settings.system?.trim();
    return [...(system ? [{ role: 'system', content: system }] : []), ...turns.filter((turn) => !turn.empty).map((turn) => turn.message())];
  }

  /** The body of a request that asks for the reply to `turns`. */
  request(turns) {
    const body = { messages: this.messages(turns) };
    for (const name of SAMPLING) {
      if (this.settings[name]) body[name] = Number(this.settings[name]);
    }
    if (this.settings.max_crops) body.edgephi = { max_crops: Number(this.settings.max_crops) };
    if (this.settings.tools?.trim()) body.tools = toolList(this.settings.tools);
    return body;
  }

  toJson() {
    return { format: FORMAT, version: 1, settings: this.settings, messages: this.messages() };
  }

  /** Read what `toJson` gave, or a plain list of the API's messages. @throws {Error} with one line for the user. */
  static fromJson(value) {
    const list = Array.isArray(value) ? value : value?.messages;
    if (!Array.isArray(list)) throw new Error('This file holds no conversation: it has no list of messages.');
    const conversation = new Conversation();
    for (const [name, setting] of Object.entries(value.settings ?? {})) {
      if (typeof setting === 'string') conversation.settings[name] = setting;
    }
    list.forEach((message, i) => {
      if (message?.role === 'system' || message?.role === 'developer') conversation.settings.system = plainText(message, i);
      else conversation.turns.push(readTurn(message, i));
    });
    return conversation;
  }
}

/** Tools as the API takes them, from a list with or without the `function` wrapping. */
export function toolList(text) {
  const list = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error('Tools are a JSON list.');
  return list.map((tool) => (tool.type === 'function' ? tool : { type: 'function', function: tool }));
}

function plainText(message, i) {
  if (typeof message.content === 'string') return message.content;
  if (message.content === null || message.content === undefined) return '';
  if (!Array.isArray(message.content)) throw new Error(`Message ${i + 1} has no content that can be shown.`);
  return message.content.filter((part) => part?.type === 'text').map((part) => String(part.text)).join('\n');
}

function readTurn(message, i) {
  if (!['user', 'assistant', 'tool'].includes(message?.role)) throw new Error(`Message ${i + 1} has no role that is known.`);
  const turn = new Turn(message.role, { text: plainText(message, i), callId: message.tool_call_id ?? null });
  for (const part of Array.isArray(message.content) ? message.content : []) {
    const url = part?.image_url?.url;
    if (typeof url === 'string' && /^data:image\//i.test(url)) {
      turn.images.push({ url, name: 'image', detail: part.image_url.detail === 'low' ? 'low' : 'auto' });
    } else if (typeof part?.input_audio?.data === 'string') turn.audio.push({ data: part.input_audio.data, name: 'audio', seconds: null });
    else if (part?.type !== 'text') throw new Error(`Message ${i + 1} has a part that cannot be shown: ${part?.type}.`);
  }
  if (message.role === 'assistant' && Array.isArray(message.tool_calls)) turn.calls = message.tool_calls;
  return turn;
}
