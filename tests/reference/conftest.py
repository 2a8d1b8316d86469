"""The reference tests need PyTorch. Without it none is collected, and `pytest -m reference` fails for lack of tests."""

from __future__ import annotations

import importlib.util

import pytest

from support.bundles import small_checkpoint

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def oracle():
    """The small native checkpoint in PyTorch transformers."""
    from reference.oracle import Oracle  # noqa: PLC0415 - torch may be missing when this file is read

    return Oracle(small_checkpoint("native"))
