"""Rates of images on this machine, as one request leaves them for the forecast of the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgephi.images.rates import ImageRateRecord, ImageRates


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_latest_request_counts_and_only_for_its_model():
    record = ImageRateRecord("a")
    assert record.read() == ImageRates(patch_s=None, position_s=None)
    record.add_encoding(1000, 4.0)
    record.add_encoding(1000, 2.0)
    record.add_prefill(500, 1.0)
    assert ImageRateRecord("a").read() == ImageRates(patch_s=0.002, position_s=0.002)
    assert ImageRateRecord("b").read() == ImageRates(patch_s=None, position_s=None)


def test_what_is_over_at_once_or_was_cached_says_nothing_about_the_machine(tmp_path: Path):
    record = ImageRateRecord("a")
    record.add_encoding(1000, 0.1)
    record.add_prefill(0, 7.0)
    assert not list(tmp_path.rglob("*.json"))


def test_a_damaged_file_and_a_folder_that_cannot_be_written_cost_only_the_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    record = ImageRateRecord("a")
    record.add_prefill(500, 1.0)
    (tmp_path / "edgephi" / "images.json").write_text("[1", encoding="utf-8")
    assert record.read().position_s is None
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    record.add_prefill(500, 1.0)
    assert record.read().position_s is None
