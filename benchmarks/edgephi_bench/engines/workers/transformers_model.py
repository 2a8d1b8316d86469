"""transformers, or the same interface over ONNX Runtime from optimum, on request, in an environment that has it."""

from __future__ import annotations

import copy
import time
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def prepare() -> None:
    """Import it."""
    import_module("torch")
    import_module("transformers")


def open_engine(options: dict[str, Any]) -> TransformersEngine:
    """Load the folder `model` for `threads` threads, with the library named `kind`."""
    torch = import_module("torch")
    torch.set_num_threads(options["threads"])
    if options["kind"] == "optimum":
        return TransformersEngine(_open_optimum(options["model"], options["threads"]), _optimum_version())
    transformers = import_module("transformers")
    # As the checkpoint stores it: half the bytes of float32, which is what a step's time goes by.
    model = transformers.AutoModelForCausalLM.from_pretrained(options["model"], dtype="auto", local_files_only=True)
    return TransformersEngine(model.eval(), transformers.__version__)


class TransformersEngine:
    """One model and the cache of the sequence it is at."""

    def __init__(self, model: Any, version: str) -> None:
        self._torch = import_module("torch")
        self._model = model
        self.version = version
        self._depth = -1
        self._cache: Any = None

    def prefill(self, tokens: int) -> list[float]:
        """Seconds to read a prompt into an empty cache, the last one's logits included."""
        self._depth, self._cache = -1, None
        ids = self._ids(tokens)
        before = time.perf_counter()
        self._run(ids, None, 0)
        return [time.perf_counter() - before]

    def decode(self, depth: int, tokens: int) -> list[float]:
        """Seconds of each of the `tokens` - 1 steps between so many tokens, the first after `depth` positions."""
        depth = max(depth, 1)
        if self._depth != depth:
            self._depth, self._cache = -1, None
            self._cache = self._run(self._ids(depth), None, 0).past_key_values
            self._depth = depth
        token = self._torch.tensor([[0]])
        self._run(token, copy.deepcopy(self._cache), depth)  # the first pass after a pause is slower, and not timed
        cache, seconds = copy.deepcopy(self._cache), []
        for past in range(depth, depth + tokens - 1):
            before = time.perf_counter()
            output = self._run(token, cache, past)
            cache, token = output.past_key_values, output.logits[:, -1:].argmax(-1)
            seconds.append(time.perf_counter() - before)
        return seconds

    def _run(self, ids: Any, cache: Any, past: int) -> Any:
        mask = self._torch.ones((1, past + ids.shape[1]), dtype=self._torch.int64)
        with self._torch.inference_mode():
            return self._model(
                input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **self._last_row
            )

    @property
    def _last_row(self) -> dict[str, int]:
        """Both libraries compute every row of logits by default; only transformers has a setting for the last one."""
        return {"logits_to_keep": 1} if hasattr(self._model, "lm_head") else {}

    def _ids(self, count: int) -> Any:
        vocab = self._model.config.vocab_size * 9 // 10
        return self._torch.tensor([[(7919 * i + 17) % vocab for i in range(count)]])


def _open_optimum(model: str, threads: int) -> Any:
    options = import_module("onnxruntime").SessionOptions()
    options.intra_op_num_threads = threads
    return import_module("optimum.onnxruntime").ORTModelForCausalLM.from_pretrained(
        model, session_options=options, local_files_only=True
    )


def _optimum_version() -> str:
    return str(import_module("importlib.metadata").version("optimum-onnx"))
