"""The example of docs/transformersjs as a user sets it up, with nano exported for it and for edgephi."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgephi import Model
from edgephi_export import ExportOptions, export

ROOT = Path(__file__).parents[3]
NANO = ROOT / "nano" / "checkpoint"
#: Made by `make transformersjs`.
PACKAGES = ROOT / "build" / "transformersjs" / "node_modules"
RECIPES = ("fp32", "int8", "int4", "int4-fast")


@dataclass(frozen=True, slots=True)
class Site:
    """The example's folder, with npm's packages and the model of each recipe in `models`."""

    path: Path

    def model(self, recipe: str) -> Path:
        return self.path / "models" / recipe


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Without the packages these tests fail rather than pass unseen."""
    if not (PACKAGES / "@huggingface" / "transformers").is_dir():
        pytest.fail("transformers.js is not installed; run these tests by: make transformersjs")
    path = tmp_path_factory.mktemp("site")
    for file in (ROOT / "docs" / "transformersjs").iterdir():
        shutil.copyfile(file, path / file.name)
    (path / "node_modules").symlink_to(PACKAGES)
    (path / "models").mkdir()
    for recipe in RECIPES:
        export(NANO, path / "models" / recipe, ExportOptions(recipe=recipe, layout="transformersjs"))
    return Site(path)


@pytest.fixture(scope="session", params=RECIPES)
def recipe(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def model(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """The same weights in edgephi."""
    bundle = export(NANO, tmp_path_factory.mktemp(recipe) / "edgephi", ExportOptions(recipe=recipe, adapters="none"))
    with Model.load(bundle) as model:
        yield model
