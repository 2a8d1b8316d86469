// Runs a folder in transformers.js for transformersjs.py: one line of JSON in, one out; `error` is in place of a result.
//   (at the start)        -> { version }
//   { folder }            -> { loaded }
//   { ids, maxNewTokens } -> { logits, ids }: base64 of float32 little-endian [V], and the greedy reply
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

console.log = console.info = console.error; // what a library says is not an answer
// From the directory that the user is in, and from NODE_PATH; never from beside the model, which may be anyone's.
const find = createRequire(join(process.cwd(), 'package.json'));
const library = await import(pathToFileURL(find.resolve('@huggingface/transformers')).href);
library.env.allowRemoteModels = false;

async function load(folder) {
  library.env.localModelPath = dirname(folder);
  return library.AutoModelForCausalLM.from_pretrained(basename(folder), { device: 'cpu' });
}

async function reply({ ids, maxNewTokens }) {
  const shape = [1, ids.length];
  const prompt = {
    input_ids: new library.Tensor('int64', BigInt64Array.from(ids, BigInt), shape),
    attention_mask: new library.Tensor('int64', new BigInt64Array(ids.length).fill(1n), shape),
  };
  const { logits } = await model(prompt);
  const row = Float32Array.from(logits.data.subarray(-logits.dims[2]));
  const whole = await model.generate({ ...prompt, max_new_tokens: maxNewTokens, do_sample: false });
  return { logits: Buffer.from(row.buffer).toString('base64'), ids: Array.from(whole.data, Number).slice(ids.length) };
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
let model;
say({ version: library.env.version });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const asked = JSON.parse(line);
    if (model) {
      say(await reply(asked));
    } else {
      model = await load(asked.folder);
      say({ loaded: true });
    }
  } catch (error) {
    say({ error: `${error.message ?? error}` });
  }
}
