"""optimum itself, and nano exported for it and for edgephi."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgephi import Model
from edgephi_export import ExportOptions, export

NANO = Path(__file__).parents[3] / "nano" / "checkpoint"
RECIPES = ("fp32", "int8", "int4", "int4-fast")


@dataclass(frozen=True, slots=True)
class Pair:
    """The same weights on both sides.

    Attributes:
        edgephi: Loaded by this project's runtime.
        optimum: Loaded by optimum.
        tokenizer: Loaded by transformers, from the same folder.
        folder: The folder of these two.
    """

    edgephi: Model
    optimum: Any
    tokenizer: Any
    folder: Path


@pytest.fixture(scope="session")
def libraries() -> tuple[Any, Any]:
    """The classes of model and tokenizer; without them these tests fail rather than pass unseen."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own
        try:
            model = importlib.import_module("optimum.onnxruntime").ORTModelForCausalLM
            return model, importlib.import_module("transformers").AutoTokenizer
        except ImportError as error:
            pytest.fail(f"optimum is not installed ({error}); run these tests by: make optimum")


@pytest.fixture(scope="session", params=RECIPES)
def pair(
    request: pytest.FixtureRequest, libraries: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Nano by each recipe."""
    out = tmp_path_factory.mktemp(request.param)
    folder = export(NANO, out / "optimum", ExportOptions(recipe=request.param, layout="optimum"))
    bundle = export(NANO, out / "edgephi", ExportOptions(recipe=request.param, adapters="none"))
    loaded, tokenizer = (library.from_pretrained(folder) for library in libraries)
    with Model.load(bundle) as model:
        yield Pair(model, loaded, tokenizer, folder)
