// Asks a folder that `edgephi export --layout transformersjs` wrote: the same in Node (node.mjs) and in a page (index.html).

/**
 * Load a model folder below `library.env.localModelPath`.
 * @param library The module @huggingface/transformers.
 * @param {string} folder Its name there.
 * @param {string} device 'cpu' in Node, 'wasm' or 'webgpu' in a browser.
 */
export async function open(library, folder, device) {
  const tokenizer = await library.AutoTokenizer.from_pretrained(folder);
  // The type of the weights and the number of their files stand in the folder's config.json.
  const model = await library.AutoModelForCausalLM.from_pretrained(folder, { device });
  return { library, tokenizer, model };
}

/**
 * The model's likeliest reply.
 * @param chat Of `open`.
 * @param {{role: string, content: string}[]} messages The conversation so far.
 * @param {{maxNewTokens?: number, onText?: (piece: string) => void}} options The longest reply, and who gets its pieces.
 * @returns {Promise<{text: string, ids: number[]}>} The reply, and its token ids with the one that ended it.
 */
export async function ask({ library, tokenizer, model }, messages, { maxNewTokens = 200, onText } = {}) {
  const prompt = tokenizer.apply_chat_template(messages, { add_generation_prompt: true, return_dict: true });
  const visible = { skip_prompt: true, skip_special_tokens: true };
  const streamer = onText && new library.TextStreamer(tokenizer, { ...visible, callback_function: onText });
  const whole = await model.generate({ ...prompt, max_new_tokens: maxNewTokens, do_sample: false, streamer });
  const reply = whole.slice(null, [prompt.input_ids.dims[1], null]);
  const [text] = tokenizer.batch_decode(reply, { skip_special_tokens: true });
  return { text, ids: Array.from(reply.data, Number) };
}
