// Server-sent events, read from the body of a fetch: events and comments, in order.

/**
 * Read a stream of server-sent events.
 * @param {ReadableStream<Uint8Array>} body
 * @yields {{comment: string} | {data: string}}
 */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (data.length) yield { data: data.join('\n') };
          data = [];
        } else if (line.startsWith(':')) yield { comment: line.slice(1).trim() };
        else if (line.startsWith('data:')) data.push(line.slice(line[5] === ' ' ? 6 : 5));
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Read a comment of progress: "queued 2", "encode 3/8", "prefill 512/2049".
 * @returns {{stage: string, done: number, total: number | null} | null}
 */
export function progress(comment) {
  const found = /^([a-z]+)(?: (\d+)(?:\/(\d+))?)?$/.exec(comment);
  if (!found) return null;
  return { stage: found[1], done: Number(found[2] ?? 0), total: found[3] === undefined ? null : Number(found[3]) };
}
