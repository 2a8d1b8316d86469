"""`Model.stream` on request, for the worker protocol: the same requests as the server's, without the server."""

from __future__ import annotations

import time
from typing import Any

from edgephi import DoneEvent, Model, SamplingOptions, TextEvent, TokenEvent
from edgephi.base.version import package_version
from edgephi_bench.serving.contents import NEVER, Ask, Content, make_content


def prepare() -> None:
    """Everything that a request needs was imported with this file."""


def open_engine(options: dict[str, Any]) -> DirectCalls:
    """Load the model folder `model` for `threads` threads and the kind of `kv_cache`."""
    return DirectCalls(Model.load(options["model"], threads=options["threads"], kv_cache=options["kv_cache"]))


class DirectCalls:
    """One model."""

    def __init__(self, model: Model) -> None:
        self.version = package_version()
        self._model = model

    def requests(self, asks: list[dict[str, Any]]) -> dict[str, Any]:
        """Answer one request after the other. `asks` have the fields of an Ask, `answers` those of an Answer."""
        wanted = [Ask(**ask) for ask in asks]
        contents = [make_content(one) for one in wanted]
        began = time.perf_counter()
        answers = [self._answer(one, content) for one, content in zip(wanted, contents, strict=True)]
        return {"answers": answers, "seconds": time.perf_counter() - began}

    def _answer(self, wanted: Ask, content: Content) -> dict[str, Any]:
        bias = dict.fromkeys(self._model.manifest.tokens.eos, NEVER)
        options = SamplingOptions.greedy(max_new_tokens=wanted.new_tokens, logit_bias=bias, speculation=False)
        images = [] if content.image is None else [content.image]
        audio = [] if content.audio is None else [content.audio]
        texts: list[str] = []
        first_s, num_before, num_tokens = None, 0, 0
        began = time.perf_counter()
        for event in self._model.stream(content.text, options=options, images=images, audio=audio):
            if isinstance(event, TokenEvent):
                num_tokens += 1
            elif isinstance(event, TextEvent):
                if first_s is None:
                    first_s, num_before = time.perf_counter() - began, num_tokens
                texts.append(event.text)
            elif isinstance(event, DoneEvent):
                finish_s, read_s = time.perf_counter() - began, event.reply.timing.preprocess_s
        return {
            "first_s": finish_s if first_s is None else first_s,
            "finish_s": finish_s,
            "end_s": finish_s,
            "text": "".join(texts),
            "new_tokens": num_tokens,
            "num_texts": len(texts),
            "read_s": read_s,
            "num_before": num_before if first_s is not None else num_tokens,
        }
