"""Two ways to ask the demo checkpoint: the ONNX runtime, and the PyTorch class it was trained with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edgephi import Model
from edgephi.bundle.manifest import CacheKind
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine as EvaluatedFolder
from edgephi_evaluate.engines.engine import Engine as Evaluated
from edgephi_evaluate.engines.transformers_engine import TransformersEngine as EvaluatedCheckpoint
from edgephi_export import ExportOptions, export
from edgephi_export.options import PrefillKind


class Engine(Protocol):
    """Something that answers questions greedily."""

    def __enter__(self) -> Self:
        """Load the model."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free it."""

    def asked(self) -> Evaluated:
        """The loaded model as `edgephi evaluate` asks it."""


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

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        self._path = export(self._checkpoint, Path(self._folder.name) / "model", self._options)
        self._model = Model.load(self._path, kv_cache=self._options.kv_cache, prefill_threshold=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.close()
        self._folder.cleanup()

    def asked(self) -> Evaluated:
        """See Engine."""
        return EvaluatedFolder(self._model, self._path)


class TransformersEngine:
    """The checkpoint through the PyTorch class it was trained with, in float32."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint

    def __enter__(self) -> Self:
        self._engine = EvaluatedCheckpoint(self._checkpoint, "float32")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._engine

    def asked(self) -> Evaluated:
        """See Engine."""
        return self._engine
