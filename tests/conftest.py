"""What several test files share: loaded models of the small exported checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from edgephi import Model
from support.bundles import small_bundle
from support.checkpoints import Layout


@pytest.fixture(scope="session")
def models() -> Iterator[Callable[..., Model]]:
    """Gives the loaded model of a layout and an adapter mode, exported once per run. Do not close it."""
    opened: dict[tuple[Layout, str | None], Model] = {}

    def get(layout: Layout = "native", adapters: str | None = None) -> Model:
        key = (layout, adapters)
        if key not in opened:
            opened[key] = Model.load(small_bundle(layout, adapters))
        return opened[key]

    yield get
    for model in opened.values():
        model.close()
