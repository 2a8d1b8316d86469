"""Memory is given back where nothing reads it, and nowhere else."""

from __future__ import annotations

import mmap
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model, SamplingOptions
from edgephi.mapped_pages import mapped_files, release_mapped_pages
from support.bundles import small_bundle

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
SIZE = 1 << 20


def _resident(path: Path) -> int:
    """Kilobytes of a file's mappings that are in memory."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    found = re.findall(rf"{re.escape(str(path))}\n(?:[A-Z].*\n)*?Rss: +(\d+) kB", text)
    return sum(map(int, found))


def _mapped(path: Path, mode: str) -> np.memmap:
    path.write_bytes(bytes(range(256)) * (SIZE // 256))
    array = np.memmap(path, np.uint8, mode)  # type: ignore[call-overload]
    assert int(array[:: mmap.PAGESIZE].sum()) == 0
    return array


NOTHING: frozenset[tuple[str, str, str]] = frozenset()


def test_pages_go_and_come_back(tmp_path: Path):
    """ONNX Runtime maps for private writing, which it then does not do."""
    before = mapped_files()
    array = _mapped(tmp_path / "w.bin", "c")
    assert _resident(tmp_path / "w.bin") == SIZE // 1024
    release_mapped_pages(tmp_path, before)
    assert _resident(tmp_path / "w.bin") == 0
    assert bytes(array[1000:1004]) == bytes([232, 233, 234, 235])


def test_what_was_written_is_kept(tmp_path: Path):
    """Dropping a private page that was changed would lose the change."""
    array = _mapped(tmp_path / "w.bin", "c")
    array[5] = 99
    release_mapped_pages(tmp_path, NOTHING)
    assert array[5] == 99


def test_other_folders_are_left_alone(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model-2").mkdir()
    kept = _mapped(tmp_path / "model-2" / "w.bin", "c")
    release_mapped_pages(tmp_path / "model", NOTHING)
    assert _resident(tmp_path / "model-2" / "w.bin") == SIZE // 1024
    assert len(kept) == SIZE


def test_what_was_mapped_before_is_left_alone(tmp_path: Path):
    """Another model of the same folder may be closing: its addresses may be other memory's by now."""
    kept = _mapped(tmp_path / "w.bin", "c")
    release_mapped_pages(tmp_path, mapped_files())
    assert _resident(tmp_path / "w.bin") == SIZE // 1024
    assert len(kept) == SIZE


def test_a_loaded_model_holds_no_pages_of_its_files_and_still_answers():
    bundle = small_bundle("native", None, None, "int4")
    with Model.load(bundle) as model:
        weights = bundle / "weights" / "decoder.bin"
        assert _resident(weights) < weights.stat().st_size / 1024 / 3  # small ones may be read again, with neighbours
        before = model.generate("hi", options=SamplingOptions(max_new_tokens=4)).token_ids
        release_mapped_pages(bundle, NOTHING)
        assert model.generate("hi", options=SamplingOptions(max_new_tokens=4)).token_ids == before
