"""Worker processes find the tests' own work."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for the marks of `ScriptedWork`, which worker processes can import."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    folder = tmp_path / "begun"
    folder.mkdir()
    return folder
