// The conversation as data: turns and settings, and their JSON, whose messages are OpenAI's.

/** Settings that go into a request as they are; an empty one is left to the model's own recommendation. */
const SAMPLING = ['temperature', 'top_p', 'top_k', 'repetition_penalty', 'seed', 'max_completion_tokens'];

export class Turn {
  media = []; // images, {url, name, detail} with a data: URL, and audio, {data, name} with base64
  calls = []; // as the API gives them: {id, type, function: {name, arguments}}
  result = {}; // of a reply: {finish, timing, usage, error, stopped}

  constructor(role, text = '', more = {}) {
    Object.assign(this, { role, text, ...more });
  }

  /** The turn as a message of the API. */
  message() {
    const { role, text, media, calls, callId } = this;
    if (role === 'tool') return { role, tool_call_id: callId, content: text };
    if (role === 'assistant') return { role, content: text || null, ...(calls.length && { tool_calls: calls }) };
    if (!media.length) return { role, content: text };
    const content = media.map(({ url, detail, data }) => (
      url ? { type: 'image_url', image_url: { url, detail } } : { type: 'input_audio', input_audio: { data, format: 'wav' } }));
    if (text) content.push({ type: 'text', text });
    return { role, content };
  }

  get empty() {
    return !this.text && !this.calls.length && !this.media.length;
  }
}

export class Conversation {
  turns = [];

  constructor(settings = {}) {
    this.settings = settings; // texts of the form, by name
  }

  messages(turns = this.turns) {
    const { system } = this.settings;
    return [...(system ? [{ role: 'system', content: system }] : []), ...turns.filter((turn) => !turn.empty).map((turn) => turn.message())];
  }

  /** The body of a request that asks for the reply to `turns`. */
  request(turns) {
    const { max_crops: crops, tools } = this.settings;
    const body = { messages: this.messages(turns) };
    for (const name of SAMPLING) if (this.settings[name]) body[name] = Number(this.settings[name]);
    if (crops) body.edgephi = { max_crops: Number(crops) };
    if (tools) body.tools = toolList(tools);
    return body;
  }

  toJson() {
    return { settings: this.settings, messages: this.messages() };
  }

  /** Read what `toJson` gave, or a plain list of the API's messages. @throws {Error} with one line for the user. */
  static fromJson(value) {
    const list = Array.isArray(value) ? value : value?.messages;
    if (!Array.isArray(list)) throw new Error('it has no list of messages.');
    const settings = Object.entries(value.settings ?? {}).filter(([, setting]) => typeof setting === 'string');
    const conversation = new Conversation(Object.fromEntries(settings));
    list.forEach((message, i) => {
      const turn = readTurn(message, `message ${i + 1} has`);
      if (turn.role === 'system') conversation.settings.system = turn.text;
      else conversation.turns.push(turn);
    });
    return conversation;
  }
}

/** Tools as the API takes them, from a list with or without the `function` wrapping. */
export function toolList(text) {
  const list = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error('it is no list');
  return list.map((tool) => (tool.type === 'function' ? tool : { type: 'function', function: tool }));
}

function readTurn(message, where) {
  const { role, content } = message ?? {};
  if (!['system', 'user', 'assistant', 'tool'].includes(role)) throw new Error(`${where} no role that is known.`);
  const turn = new Turn(role, '', { callId: message.tool_call_id });
  const texts = typeof content === 'string' ? [content] : [];
  for (const part of Array.isArray(content) ? content : []) {
    const url = String(part?.image_url?.url);
    const data = part?.input_audio?.data;
    if (part?.type === 'text') texts.push(String(part.text));
    else if (url.startsWith('data:image/')) turn.media.push({ url, name: 'image', detail: part.image_url.detail ?? 'auto' });
    else if (typeof data === 'string' && isBase64(data)) turn.media.push({ data, name: 'audio' });
    else throw new Error(`${where} a part that cannot be shown: ${part?.type}.`);
  }
  turn.text = texts.join('\n');
  if (Array.isArray(message.tool_calls)) turn.calls = message.tool_calls.filter((call) => typeof call?.function?.name === 'string');
  return turn;
}

function isBase64(text) {
  try {
    atob(text);
    return true;
  } catch {
    return false;
  }
}
