// Requests to the server that this page came from, its streams, and what the tab keeps.

const PREFIX = 'edgephi.';

/** A value of sessionStorage: it ends with the tab and never leaves the browser. */
export function load(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}

/** Keep a value; null removes it. False if the browser has no room for it. */
export function save(name, value) {
  try {
    if (value === null) sessionStorage.removeItem(PREFIX + name);
    else sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** An answer that is no success. `status` 0: no answer came, or not all of it. */
export class ApiError extends Error {
  constructor(status, message, code) {
    super(message);
    Object.assign(this, { status, code });
  }
}

/**
 * Send a request. Paths are relative to the page: a proxy may serve it under a prefix.
 * @throws {ApiError} for every answer but a success; AbortError if `signal` was aborted.
 */
export async function send(path, body, signal) {
  const headers = {};
  const key = load('key');
  if (key) headers.Authorization = `Bearer ${key}`;
  const isJson = body && !(body instanceof FormData);
  if (isJson) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method: body ? 'POST' : 'GET', headers, body: isJson ? JSON.stringify(body) : body, signal, cache: 'no-store', credentials: 'omit',
    });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The server does not answer.');
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({})); // A proxy's answer may be no JSON.
  throw new ApiError(response.status, error?.message ?? `The server answered ${response.status}.`, error?.code);
}

/**
 * Send a request and read its stream: events as parsed JSON, comments of progress as {stage, done, total}.
 * @param {(event: object) => boolean} isLast whether an event ends the stream; `data: [DONE]` always does
 * @throws {ApiError} if the request is refused, the stream carries an error, or breaks off
 */
export async function* stream(path, body, signal, isLast = () => false) {
  const response = await send(path, body, signal);
  let ended = false;
  try {
    for await (const line of lines(response.body)) {
      const progress = /^: ?([a-z]+)(?: (\d+)(?:\/(\d+))?)?$/.exec(line);
      if (progress) yield { stage: progress[1], done: Number(progress[2] ?? 0), total: Number(progress[3] ?? 0) };
      if (!line.startsWith('data:')) continue;
      const data = line.slice(5).trim();
      ended ||= data === '[DONE]';
      if (data === '[DONE]') continue;
      const event = JSON.parse(data);
      if (event.error) throw new ApiError(500, event.error.message, event.error.code);
      ended ||= isLast(event);
      yield event;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
  }
  if (!ended && !signal.aborted) throw new ApiError(0, 'The connection to the server broke.');
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const found = (rest + value).split('\n');
      rest = found.pop();
      yield* found.map((line) => line.trimEnd());
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
