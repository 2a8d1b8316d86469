"""onnxruntime-genai on request. Runs in an environment that has it.

The work is the same as edgephi's: `append_tokens` computes the logits of the prompt's last position; after it, the
first `generate_next_token` only chooses, every later one is a step of the model and a choice.
"""

from __future__ import annotations

import json
import os
import time
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def prepare() -> None:
    """Import it, with its telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import_module("onnxruntime_genai")


def open_engine(options: dict[str, Any]) -> GenaiEngine:
    """Load the folder `model` for `threads` threads and sequences of up to `max_positions`."""
    return GenaiEngine(options["model"], options["threads"], options["max_positions"])


class GenaiEngine:
    """One model and the generator that is at a depth."""

    def __init__(self, model: str, threads: int, max_positions: int) -> None:
        self._genai = import_module("onnxruntime_genai")
        self.version = self._genai.__version__
        with open(os.path.join(model, "genai_config.json"), encoding="utf-8") as stream:
            self._vocab = json.load(stream)["model"]["vocab_size"]
        config = self._genai.Config(model)
        # As shipped it takes half the cores.
        config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
        self._model = self._genai.Model(config)
        self._max_positions = max_positions
        self._depth = -1
        self._generator: Any = None

    def prefill(self, tokens: int) -> list[float]:
        """Seconds to read a prompt into an empty cache, the last one's logits included."""
        self._depth, self._generator = -1, None
        generator = self._new_generator()
        ids = self._ids(tokens)
        before = time.perf_counter()
        generator.append_tokens(ids)
        return [time.perf_counter() - before]

    def decode(self, depth: int, tokens: int) -> list[float]:
        """Seconds of each of the `tokens` - 1 steps between so many tokens, the first after `depth` positions."""
        generator = self._at(max(depth, 1))
        seconds = []
        for _ in range(tokens - 1):
            before = time.perf_counter()
            generator.generate_next_token()
            seconds.append(time.perf_counter() - before)
        return seconds

    def request(self, depth: int, tokens: int) -> list[float]:
        """Seconds to read a prompt of `depth` positions, to choose a token, and of each of the `tokens` - 1 steps."""
        self._depth, self._generator = -1, None
        generator = self._new_generator()
        ids = self._ids(depth)
        stamps = [time.perf_counter()]
        generator.append_tokens(ids)
        stamps.append(time.perf_counter())
        for _ in range(tokens):
            generator.generate_next_token()
            stamps.append(time.perf_counter())
        return [after - before for before, after in zip(stamps, stamps[1:])]  # noqa: B905, RUF007 - old interpreters

    def _at(self, depth: int) -> Any:
        """A generator that has read `depth` positions and chosen the next token."""
        if self._depth != depth:
            self._depth, self._generator = -1, None
            self._generator = self._new_generator()
            self._generator.append_tokens(self._ids(depth))
            self._depth = depth
        else:
            # Its last position is read again: what a rewound generator needs to choose from.
            self._generator.rewind_to(depth - 1)
            self._generator.append_tokens(self._ids(depth)[-1:])
        self._generator.generate_next_token()
        return self._generator

    def _new_generator(self) -> Any:
        parameters = self._genai.GeneratorParams(self._model)
        # The least length keeps it from ending early.
        parameters.set_search_options(
            do_sample=False, max_length=self._max_positions, min_length=self._max_positions, batch_size=1
        )
        return self._genai.Generator(self._model, parameters)

    def _ids(self, count: int) -> list[int]:
        return [(7919 * i + 17) % (self._vocab * 9 // 10) for i in range(count)]
