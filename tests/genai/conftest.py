"""onnxruntime-genai itself, and nano exported for it and for edgephi.

Nano's own pre-tokenizer is none that onnxruntime-genai knows, so these tests put the public model's in its place: the
same vocabulary, cut as Phi-4 cuts text. What nano then answers is worse; both sides must answer the same.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgephi import Model
from edgephi_export import ExportOptions, export
from edgephi_export.runtimes.genai import LoadedGenai

NANO = Path(__file__).parents[2] / "nano" / "checkpoint"
#: The pattern of the public tokenizer.json.
PUBLIC_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
RECIPES = ("fp32", "int8", "int4", "int4-fast")


@dataclass(frozen=True, slots=True)
class Pair:
    """The same weights on both sides.

    Attributes:
        edgephi: Loaded by this project's runtime.
        genai: Loaded by onnxruntime-genai.
        folder: What it was loaded from.
    """

    edgephi: Model
    genai: Any
    folder: Path


@dataclass(frozen=True, slots=True)
class MediaPair:
    """The same weights on both sides, with encoders and adapters."""

    edgephi: Model
    genai: LoadedGenai
    folder: Path
    bundle: Path

    @property
    def processor(self) -> Any:
        return self.genai.model.create_multimodal_processor()


@pytest.fixture(scope="session")
def og() -> ModuleType:
    """The library; without it these tests fail rather than pass unseen."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime_genai")
    except ImportError as error:
        pytest.fail(f'onnxruntime-genai is not installed ({error}); run: pip install "edgephi[genai]", or make genai')


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nano with the public model's pattern."""
    folder = Path(shutil.copytree(NANO, tmp_path_factory.mktemp("nano") / "checkpoint"))
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    split, _ = tokenizer["pre_tokenizer"]["pretokenizers"]
    assert split["type"] == "Split"
    split["pattern"] = {"Regex": PUBLIC_PATTERN}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


@pytest.fixture(scope="session", params=RECIPES)
def media_pair(
    request: pytest.FixtureRequest, og: ModuleType, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MediaPair]:
    """Nano by each recipe, with images and audio."""
    out = tmp_path_factory.mktemp(f"media-{request.param}")
    folder = export(checkpoint, out / "genai", ExportOptions(recipe=request.param, layout="genai"))
    bundle = export(checkpoint, out / "edgephi", ExportOptions(recipe=request.param))
    with Model.load(bundle) as model, LoadedGenai(folder) as genai:
        yield MediaPair(model, genai, folder, bundle)


@pytest.fixture(scope="session", params=RECIPES)
def pair(
    request: pytest.FixtureRequest, og: ModuleType, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Nano by each recipe."""
    out = tmp_path_factory.mktemp(request.param)
    folder = export(checkpoint, out / "genai", ExportOptions(recipe=request.param, layout="genai", adapters="none"))
    bundle = export(checkpoint, out / "edgephi", ExportOptions(recipe=request.param, adapters="none"))
    with Model.load(bundle) as model:
        yield Pair(model, og.Model(str(folder)), folder)
