// The state of the server: which model answers, or why none does.

import { ApiError, load, send } from './api.js';

const AGAIN_MS = 2000;
const AWAY = ['model_loading', 'server_shutting_down'];

/**
 * Fires `change`. `state` is connecting, ready, loading, gone, key (one is needed or was refused) or refused (another
 * answer, in `message`). While it is loading or gone, it is asked again by itself.
 */
export class Server extends EventTarget {
  state = 'connecting';
  model = null; // {id, contextLength, image, audio}
  #timer;

  async check() {
    clearTimeout(this.#timer);
    try {
      const [{ id, max_model_len: contextLength, architecture }] = (await (await send('v1/models')).json()).data;
      const inputs = architecture?.input_modalities ?? [];
      this.model = { id, contextLength, image: inputs.includes('image'), audio: inputs.includes('audio') };
      this.#set('ready');
    } catch (error) {
      this.report(error instanceof ApiError ? error : new ApiError(500, 'The answer of /v1/models cannot be read.'));
    }
  }

  /** Take note of a request that failed. Errors that concern only that request change nothing. */
  report({ status, code, message }) {
    if (status === 401) this.#set('key', load('key') ? 'The server refused the key.' : 'This server needs a key.');
    else if (status === 0 || AWAY.includes(code)) {
      this.#set(status ? 'loading' : 'gone', message);
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.check(), AGAIN_MS);
    } else if (status === 403 || this.state === 'connecting') this.#set('refused', message);
  }

  /** Why this kind of input cannot be taken, in words for the user; null if it can. @param {'image' | 'audio'} kind */
  missing(kind) {
    if (!this.model || this.model[kind]) return null;
    const [inputs, adapter] = kind === 'image' ? ['images', 'vision'] : ['audio', 'speech'];
    return `This model folder takes no ${inputs}. An export with the ${adapter} adapter does: edgephi export … --adapters ${adapter}.`;
  }

  #set(state, message) {
    Object.assign(this, { state, message });
    this.dispatchEvent(new Event('change'));
  }
}
