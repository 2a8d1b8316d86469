"""Two ways to ask the demo checkpoint: the ONNX runtime, and the PyTorch class it was trained with.

PyTorch is imported only by its own engine.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edgephi import Model, SamplingOptions
from edgephi.bundle.manifest import CacheKind
from edgephi_export import ExportOptions, export
from edgephi_export.options import PrefillKind
from edgephi_nano.questions import MOST_NEW_TOKENS, Question
from edgephi_nano.tokenizer import END, END_OF_TEXT, build_tokenizer, special_id
from edgephi_nano.tools import SYSTEM_TEXT


class Engine(Protocol):
    """Something that answers questions greedily."""

    def __enter__(self) -> Self:
        """Load the model."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free it."""

    def answer(self, question: Question, adapter: str) -> str:
        """The answer with control tokens, without the end token; `adapter` is `auto` or `none`."""


class EdgephiEngine:
    """The checkpoint through the exporter and the runtime.

    Args:
        checkpoint: What to export.
        recipe: How its weights are stored.
        overrides: Further rules; without effect on fp32, which is what the others are compared with.
        kv_cache: What keys and values are kept in; always floats for fp32.
        prefill: The graph that reads all of a prompt but its last position; None, and for fp32, the decoder's own.
    """

    def __init__(
        self,
        checkpoint: Path,
        recipe: str,
        overrides: tuple[str, ...] = (),
        kv_cache: CacheKind = "float",
        prefill: PrefillKind | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._options = (
            ExportOptions(recipe=recipe)
            if recipe == "fp32"
            else ExportOptions(recipe=recipe, overrides=overrides, kv_cache=kv_cache, prefill=prefill)
        )
        self._tokenizer = build_tokenizer()
        self._stops = {special_id(END), special_id(END_OF_TEXT)}

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        folder = export(self._checkpoint, Path(self._folder.name) / "model", self._options)
        self._model = Model.load(folder, kv_cache=self._options.kv_cache, prefill_threshold=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.close()
        self._folder.cleanup()

    def answer(self, question: Question, adapter: str) -> str:
        """See Engine.answer."""
        messages: list[dict[str, str]] = [{"role": "user", "content": question.text}]
        if question.tools is not None:
            messages.insert(0, {"role": "system", "content": SYSTEM_TEXT, "tools": question.tools})
        reply = self._model.generate(
            messages,
            images=[question.image] if question.image is not None else [],
            audio=[(question.samples, 16_000)] if question.samples is not None else [],
            options=SamplingOptions.greedy(
                max_new_tokens=MOST_NEW_TOKENS, speculation=False
            ),  # the same figures each run
            adapter="none" if adapter == "none" else "auto",
        )
        ids = [token_id for token_id in reply.token_ids if token_id not in self._stops]
        return self._tokenizer.decode(ids, skip_special_tokens=False)


def transformers_engine(checkpoint: Path) -> Engine:
    """The checkpoint through the PyTorch class it was trained with."""
    from edgephi_nano.transformers_engine import TransformersEngine  # noqa: PLC0415 - the only import of PyTorch

    return TransformersEngine(checkpoint)
