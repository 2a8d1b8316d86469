"""The folder that `optimum.onnxruntime.ORTModelForCausalLM.from_pretrained` of optimum-onnx 0.1 loads as it is.

For models of the type phi3 that class asks for empty caches with as many heads as there are of attention, so the graph
takes any number of heads in them. It must be the only graph of the folder, and its weights are called as the hub wants.
"""

from __future__ import annotations

import sys

from edgephi_export.graphs.causal_lm import CausalForm
from edgephi_export.layouts.causal_lm.layout import CausalLmLayout, GraphPlace
from edgephi_export.layouts.layout import FolderDescription

_USAGE = """\
Runs with optimum-onnx 0.1 (`pip install "optimum-onnx[onnxruntime]==0.1.*"`), as any causal language model does:

```python
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoTokenizer

model = ORTModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")
messages = [{"role": "user", "content": "Hello"}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
reply = model.generate(**prompt, max_new_tokens=200, do_sample=False)
print(tokenizer.decode(reply[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True))
```

- Text on the CPU. With `use_io_binding=True` the library asks for caches of the wrong shape: leave it out.
- Padding is refused: give prompts one by one, or several of one length.
- A prompt may be longer than 4,096 tokens; a reply that grows from a shorter one beyond 4,096 is refused there.
- Logits of every token are returned, 0.8 MB a token with 200,064 entries.
- Each step copies keys and values: for tests, evaluation and comparison rather than for serving."""


class OptimumLayout(CausalLmLayout):
    """See `Layout`."""

    name = "optimum"
    library = "optimum"
    form = CausalForm(max_positions=sys.maxsize, any_heads=True)

    def place(self, recipe: str) -> GraphPlace:  # noqa: ARG002 - one name for all
        """The folder itself."""
        return GraphPlace()

    def usage(self, described: FolderDescription) -> tuple[str, ...]:  # noqa: ARG002
        """Python that asks the model, and the limits."""
        return tuple(_USAGE.splitlines())
