"""What the tests of whole devices share: a model of nano's with its record, keys and application trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.container import PLACE
from support.releasing import make_nano_bench

APP = PLACE / "app"


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys, nano, its record and its licence. Read only."""
    return make_nano_bench(tmp_path_factory.mktemp("bench"))
