"""A model folder through the runtime of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import edgephi
from edgephi import Model, Reply, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.chat import ReplyTexts, messages_of
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item
from edgephi_evaluate.runs.identity import EngineIdentity


class EdgephiEngine:
    """Answers by `Model.generate`.

    Args:
        model: Loaded from `folder`; not closed here.
        folder: The model folder.
        kv_cache: What keys and values are kept in, as it was asked for.
    """

    def __init__(self, model: Model, folder: Path, kv_cache: str = "auto") -> None:
        self._model = model
        bundle = Bundle(folder)
        self._texts = ReplyTexts(folder / "tokenizer.json", bundle.manifest.tokens.eos)
        self._identity = folder_identity(bundle, folder, kv_cache)

    @property
    def identity(self) -> EngineIdentity:
        """See Engine."""
        return self._identity

    def answer(self, item: Item, rules: AnswerRules, should_stop: Callable[[], bool] = lambda: False) -> Answer:
        """See Engine; `should_stop` is asked between tokens, and True ends the reply."""
        if not rules.keeps_cache:  # so that a reply is the same whatever was asked before
            self._model.clear_cache()
        began_s = time.perf_counter()
        reply = self._model.generate(
            messages_of(item),
            images=[one.read() for one in item.images],
            audio=[one.read() for one in item.audio],
            adapter=rules.adapter,
            options=self.options(item, rules),
            should_stop=should_stop,
        )
        return self._answer(reply, time.perf_counter() - began_s)

    def options(self, item: Item, rules: AnswerRules) -> SamplingOptions:
        """How the reply to an item is chosen."""
        del item
        # Draft tokens change rounding, and so, rarely, a reply.
        return SamplingOptions.greedy(max_new_tokens=rules.max_new_tokens, speculation=False)

    def _answer(self, reply: Reply, total_s: float) -> Answer:
        timing = reply.timing
        return Answer(
            text=reply.text,
            marked_text=self._texts.marked(reply.token_ids),
            token_ids=reply.token_ids,
            new_tokens=timing.new_tokens,
            finish_reason=reply.finish_reason,
            seconds=Seconds(
                total=total_s,
                preprocess=timing.preprocess_s,
                encode=timing.encode_s,
                prefill=timing.prefill_s,
                decode=timing.decode_s,
            ),
            peak_rss_bytes=timing.peak_rss_bytes or None,
        )


def folder_identity(bundle: Bundle, folder: Path, kv_cache: str) -> EngineIdentity:
    """Of a model folder in the runtime of this machine.

    Args:
        bundle: The folder.
        folder: Its path.
        kv_cache: What keys and values are kept in, as it was asked for.
    """
    return EngineIdentity(
        name="edgephi",
        version=f"{edgephi.__version__}, onnxruntime {_runtime_version()}",
        model=str(folder),
        model_sha256=bundle.manifest_sha256,
        recipe=bundle.manifest.recipe.name,
        settings=(f"kv_cache {kv_cache}",),
    )


def _runtime_version() -> str:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(name)
        except ModuleNotFoundError:  # PackageNotFoundError is one
            continue
    return "unknown"
