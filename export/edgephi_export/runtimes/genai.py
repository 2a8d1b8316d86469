"""onnxruntime-genai as a `Runtime`."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from edgephi.base.errors import ArtifactError, EdgeError
from edgephi_export.layouts.genai.config import is_media_folder
from edgephi_export.options import LayoutName
from edgephi_export.runtimes.genai_tensors import request_tensors
from edgephi_export.runtimes.runtime import RuntimeReply, RuntimeRequest, one_line


class GenaiRuntime:
    """See `Runtime`."""

    layout: LayoutName = "genai"

    def version(self) -> str:
        """The version that is installed.

        Raises:
            EdgeError: None is.
        """
        return str(_library().__version__)

    def load(self, folder: Path) -> LoadedGenai:
        """Load a folder, with all of its graphs.

        Raises:
            ArtifactError: The library refuses it.
            EdgeError: It is not installed.
        """
        return LoadedGenai(folder)


class LoadedGenai:
    """A folder that onnxruntime-genai has loaded.

    Args:
        folder: The folder.
        threads: Of the decoder; None for what the folder says.

    Attributes:
        folder: The folder.
        library: The module.
        model: Its model.
        takes_media: Whether it takes images and audio.

    Raises:
        ArtifactError: The library refuses it.
        EdgeError: It is not installed.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.folder = folder
        self.library = _library()
        self.takes_media = is_media_folder(folder)
        try:
            config = self.library.Config(str(folder))
            if threads is not None:
                options = {"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}
                config.overlay(json.dumps(options))
            self.model = self.library.Model(config)
        except Exception as error:  # the library raises whatever its C++ code threw
            raise ArtifactError(f"{folder}: onnxruntime-genai does not load it ({one_line(error)})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.model = None

    def reply(self, request: RuntimeRequest) -> RuntimeReply:
        """Answer greedily.

        Raises:
            ArtifactError: The library fails.
        """
        try:
            generator = self.begin(request)
            logits = np.array(generator.get_logits(), np.float32).reshape(-1)
            return RuntimeReply(logits=logits, token_ids=greedy(generator, request.max_new_tokens))
        except Exception as error:
            raise ArtifactError(f"onnxruntime-genai cannot answer ({one_line(error)})") from error

    def begin(self, request: RuntimeRequest) -> Any:
        """A generator that has read the prompt."""
        tensors = request_tensors(request.token_ids, request.images, request.audio, request.tokens)
        generator = self.generator(request.num_positions + request.max_new_tokens)
        if not self.takes_media:
            generator.append_tokens(tensors["input_ids"])
            return generator
        named = self.library.NamedTensors()
        for name, values in tensors.items():
            named[name] = values
        generator.set_inputs(named)
        return generator

    def generator(self, max_length: int) -> Any:
        """A generator that has read nothing and takes the likeliest tokens, for so many positions."""
        parameters = self.library.GeneratorParams(self.model)
        parameters.set_search_options(do_sample=False, max_length=max_length, batch_size=1)
        return self.library.Generator(self.model, parameters)


def greedy(generator: Any, max_new_tokens: int) -> tuple[int, ...]:
    """The tokens of a generator's reply, with the one that ended it."""
    tokens: list[int] = []
    while not generator.is_done() and len(tokens) < max_new_tokens:
        generator.generate_next_token()
        tokens.append(int(generator.get_next_tokens()[0]))
    return tuple(tokens)


def _library() -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime_genai")
    except ImportError as error:
        raise EdgeError(f'onnxruntime-genai is not installed ({error}); run: pip install "edgephi[genai]"') from error
