"""optimum as a `Runtime`."""

from __future__ import annotations

import importlib
import warnings
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgephi.base.errors import ArtifactError, EdgeError
from edgephi_export.options import LayoutName
from edgephi_export.runtimes.runtime import RuntimeReply, RuntimeRequest, one_line


class OptimumRuntime:
    """See `Runtime`."""

    layout: LayoutName = "optimum"

    def version(self) -> str:
        """The version that is installed.

        Raises:
            EdgeError: None is.
        """
        _library()
        return metadata.version("optimum-onnx")

    def load(self, folder: Path) -> LoadedOptimum:
        """Load a folder.

        Raises:
            ArtifactError: The library refuses it.
            EdgeError: It is not installed.
        """
        return LoadedOptimum(folder)


class LoadedOptimum:
    """A folder that optimum has loaded.

    Args:
        folder: The folder.

    Raises:
        ArtifactError: The library refuses it.
        EdgeError: It is not installed.
    """

    def __init__(self, folder: Path) -> None:
        library = _library()
        self._torch = importlib.import_module("torch")
        try:
            self._model: Any = library.ORTModelForCausalLM.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the library raises whatever the parts below it raise
            raise ArtifactError(f"{folder}: optimum does not load it ({one_line(error)})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model = None

    def reply(self, request: RuntimeRequest) -> RuntimeReply:
        """Answer greedily.

        Raises:
            ArtifactError: The library fails.
        """
        ids = self._torch.tensor([request.token_ids])
        given = {"input_ids": ids, "attention_mask": self._torch.ones_like(ids)}
        try:
            logits = self._model(**given).logits[0, -1].numpy()
            whole = self._model.generate(**given, max_new_tokens=request.max_new_tokens, do_sample=False)
        except Exception as error:
            raise ArtifactError(f"optimum cannot answer ({one_line(error)})") from error
        return RuntimeReply(logits=np.array(logits, np.float32), token_ids=tuple(whole[0, ids.shape[1] :].tolist()))


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the packages that it imports
            return importlib.import_module("optimum.onnxruntime")
    except ImportError as error:
        raise EdgeError(f'optimum is not installed ({error}); run: pip install "edgephi[optimum]"') from error
