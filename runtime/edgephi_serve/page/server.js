// The state of the server: which model answers, or why none does. Asks again by itself while it is loading or away.

import { ApiError, apiKey, getJson } from './api.js';

const EVERY_MS = 2000;
const AWAY = new Set(['model_loading', 'server_shutting_down']);

/** What `/v1/models` says of the folder that is served. */
export class ModelInfo {
  constructor(entry) {
    const inputs = entry.architecture?.input_modalities ?? ['text'];
    this.id = entry.id;
    this.contextLength = entry.max_model_len ?? null;
    this.images = inputs.includes('image');
    this.audio = inputs.includes('audio');
    this.languages = entry.languages ?? [];
  }
}

/**
 * Fires `change`. `state` is connecting, ready, loading, gone, key (a key is missing), badkey (it was refused) or
 * refused (another answer, in `message`).
 */
export class Server extends EventTarget {
  state = 'connecting';
  model = null;
  message = '';
  #timer = null;

  /** Ask for the model; and later again, as long as there is none. */
  async check() {
    clearTimeout(this.#timer);
    try {
      const { data } = await getJson('v1/models');
      this.model = new ModelInfo(data[0]);
      this.#set('ready');
    } catch (error) {
      this.report(error instanceof ApiError ? error : new ApiError(500, 'The answer of /v1/models cannot be read.'));
    }
  }

  /** Take note of a request that failed. Errors that concern only that request change nothing. */
  report(error) {
    if (error.status === 401) this.#set(apiKey() ? 'badkey' : 'key');
    else if (error.status === 0 || AWAY.has(error.code) || this.state === 'connecting' && error.status === 503) this.#wait(error);
    else if (error.status === 403 || this.state === 'connecting') this.#set('refused', error.message);
  }

  #wait(error) {
    this.#set(error.status === 0 ? 'gone' : 'loading', error.message);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), Math.min(EVERY_MS, (error.retryAfter ?? 2) * 1000));
  }

  #set(state, message = '') {
    this.state = state;
    this.message = message;
    this.dispatchEvent(new Event('change'));
  }
}
