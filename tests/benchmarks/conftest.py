"""What the tests of the laboratory share: small sizes, and an `edgephi` command that children can find."""

from __future__ import annotations

import dataclasses
import os
import sys
import tomllib
from pathlib import Path

import pytest

from edgephi_bench.synthetic.sizes import Sizes
from support.sizes import SMALL

_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture(scope="session")
def small() -> Sizes:
    """The public model's axes, thousands of times smaller; its weights fill several small shards."""
    return dataclasses.replace(SMALL, shard_bytes=500_000)


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find this process's packages and the commands declared by this checkout, installed or not."""
    folder = tmp_path_factory.mktemp("installed")
    info = folder / "edgephi-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgephi\nVersion: 0\n")
    commands = tomllib.loads(_PYPROJECT.read_text())["project"]["entry-points"]["edgephi.commands"]
    lines = [f"{name} = {place}" for name, place in commands.items()]
    (info / "entry_points.txt").write_text("\n".join(["[edgephi.commands]", *lines]) + "\n")
    roots = [str(Path(sys.modules[name].__file__ or "").parents[1]) for name in ("edgephi", "edgephi_bench")]
    roots += [path for path in sys.path if path]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*roots, str(folder)]))
