"""A model folder through the runtime of this process."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

import edgephi
from edgephi import Model, Reply, SamplingOptions
from edgephi.bundle.bundle import Bundle
from edgephi_evaluate.answer import Answer, Seconds
from edgephi_evaluate.engines.engine import AnswerRules
from edgephi_evaluate.item import Item, Turn
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
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._eos = frozenset(bundle.manifest.tokens.eos)
        self._identity = EngineIdentity(
            name="edgephi",
            version=f"{edgephi.__version__}, onnxruntime {_runtime_version()}",
            model=str(folder),
            model_sha256=bundle.manifest_sha256,
            recipe=bundle.manifest.recipe.name,
            settings=(f"kv_cache {kv_cache}",),
        )

    @property
    def identity(self) -> EngineIdentity:
        """See Engine."""
        return self._identity

    def answer(self, item: Item, rules: AnswerRules) -> Answer:
        """See Engine."""
        if not rules.keeps_cache:  # so that a reply is the same whatever was asked before
            self._model.clear_cache()
        began_s = time.perf_counter()
        reply = self._model.generate(
            [_message(turn) for turn in item.turns],
            images=[one.read() for one in item.images],
            audio=[one.read() for one in item.audio],
            adapter=rules.adapter,
            # Draft tokens change rounding, and so, rarely, a reply.
            options=SamplingOptions.greedy(max_new_tokens=rules.max_new_tokens, speculation=False),
        )
        return self._answer(reply, time.perf_counter() - began_s)

    def _answer(self, reply: Reply, total_s: float) -> Answer:
        ids = [token_id for token_id in reply.token_ids if token_id not in self._eos]
        timing = reply.timing
        return Answer(
            text=reply.text,
            marked_text=self._tokenizer.decode(ids, skip_special_tokens=False),
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


def _message(turn: Turn) -> dict[str, Any]:
    return {"role": turn.role, "content": turn.text, **({} if turn.tools is None else {"tools": turn.tools})}


def _runtime_version() -> str:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(name)
        except ModuleNotFoundError:  # PackageNotFoundError is one
            continue
    return "unknown"
