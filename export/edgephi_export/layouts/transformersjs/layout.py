"""The folder that transformers.js 4 (npm: @huggingface/transformers) loads, in Node and in browsers.

It looks for `onnx/model` with a suffix that stands for the type of the weights, and beside it for as many files of
weights as config.json says. A browser gets each file as one buffer, which may not have more than 2 GB.
"""

from __future__ import annotations

from edgephi.base.errors import ConfigError
from edgephi_export.graphs.causal_lm import CausalForm
from edgephi_export.layouts.causal_lm.layout import CausalLmLayout, GraphPlace
from edgephi_export.layouts.layout import FolderDescription

_MOST_BYTES = 2_000_000_000
#: A float32 cache of more would not fit into the 4 GiB of WebAssembly: Phi-4-mini's takes 256 KiB a token.
_MOST_POSITIONS = 8192
#: The library's name of the type, and the suffix that it looks for.
_DTYPES = {"fp32": ("fp32", ""), "int8": ("q8", "_quantized"), "int4": ("q4", "_q4"), "int4-fast": ("q4", "_q4")}
_USAGE = """\
Runs with transformers.js 4 (`npm install @huggingface/transformers`), in Node and in browsers:

```js
import { AutoModelForCausalLM, AutoTokenizer } from '@huggingface/transformers';

const tokenizer = await AutoTokenizer.from_pretrained('FOLDER');
const model = await AutoModelForCausalLM.from_pretrained('FOLDER', { dtype: 'DTYPE' });
const messages = [{ role: 'user', content: 'Hello' }];
const prompt = tokenizer.apply_chat_template(messages, { add_generation_prompt: true, return_dict: true });
const reply = await model.generate({ ...prompt, max_new_tokens: 200, do_sample: false });
console.log(tokenizer.batch_decode(reply.slice(null, [prompt.input_ids.dims[1], null]), { skip_special_tokens: true }));
```

- Text, on the CPU (`device: 'cpu'` in Node, `'wasm'` in browsers) or on WebGPU (`device: 'webgpu'`).
- Up to 8,192 tokens, reply included. A prompt may be longer than 4,096; a reply that grows from a shorter one beyond
  4,096 is refused there.
- Padding is refused: give prompts one by one, or several of one length."""


class TransformersJsLayout(CausalLmLayout):
    """See `Layout`."""

    name = "transformersjs"
    library = "transformers.js"
    form = CausalForm(max_positions=_MOST_POSITIONS, gives_num_logits=True)

    def place(self, recipe: str) -> GraphPlace:
        """The folder `onnx`, and a name by the type of the weights.

        Raises:
            ConfigError: The library has no name for what the recipe makes.
        """
        if recipe not in _DTYPES:
            raise ConfigError(f"recipe {recipe} is not for --layout transformersjs: use {', '.join(_DTYPES)}")
        dtype, suffix = _DTYPES[recipe]
        return GraphPlace(folder="onnx", graph=f"model{suffix}.onnx", most_bytes=_MOST_BYTES, dtype=dtype)

    def usage(self, described: FolderDescription) -> tuple[str, ...]:
        """JavaScript that asks the model, and the limits."""
        return tuple(_USAGE.replace("DTYPE", _DTYPES[described.recipe.name][0]).splitlines())
