// Requests to the server that this page came from, and what its answers mean.

import { load, save } from './store.js';
import { events } from './sse.js';

/** An answer that is no success. `status` 0: no answer came at all. */
export class ApiError extends Error {
  constructor(status, message, { code = null, retryAfter = null } = {}) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** The server may answer the same request later: it is loading, busy or away. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status === 503;
  }
}

export const apiKey = () => load('key');
export const setApiKey = (key) => save('key', key || null);

/**
 * Send a request; a path is taken relative to the page, so a proxy may serve it under a prefix.
 * @throws {ApiError} for every answer but a success; AbortError if `signal` was aborted.
 */
export async function send(path, { body, signal } = {}) {
  const headers = {};
  if (apiKey()) headers.Authorization = `Bearer ${apiKey()}`;
  const isForm = body instanceof FormData;
  if (body && !isForm) headers['Content-Type'] = 'application/json';
  const method = body ? 'POST' : 'GET';
  const payload = body && !isForm ? JSON.stringify(body) : body;
  let response;
  try {
    response = await fetch(path, { method, headers, body: payload, signal, cache: 'no-store', credentials: 'omit' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The server does not answer.');
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const text = await response.text().catch(() => '');
  let error = null;
  try {
    error = JSON.parse(text).error;
  } catch { /* Not this server's own answer: a proxy's. */ }
  const after = Number(response.headers.get('Retry-After'));
  const message = error?.message || `The server answered ${response.status}.`;
  return new ApiError(response.status, message, { code: error?.code, retryAfter: after > 0 ? after : null });
}

export async function getJson(path, options) {
  return (await send(path, options)).json();
}

/**
 * Send a request and read its stream of events.
 * @yields {{comment: string} | {chunk: object}}
 * @throws {ApiError} if the request is refused, the stream carries an error, or it ends without `data: [DONE]`
 *   or an event that `isLast`.
 */
export async function* stream(path, body, { signal, isLast = () => false } = {}) {
  const response = await send(path, { body, signal });
  let ended = false;
  try {
    for await (const event of events(response.body)) {
      if (event.comment !== undefined) yield event;
      else if (event.data === '[DONE]') ended = true;
      else {
        const chunk = JSON.parse(event.data);
        if (chunk.error) throw new ApiError(500, chunk.error.message, { code: chunk.error.code });
        ended ||= isLast(chunk);
        yield { chunk };
      }
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError(0, 'The connection to the server broke.');
  }
  if (!ended && !signal?.aborted) throw new ApiError(0, 'The connection to the server broke.');
}
