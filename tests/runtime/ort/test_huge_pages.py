"""Weights move to huge pages: as they were, without more memory, and only while nothing runs."""

from __future__ import annotations

import mmap
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from edgephi import Model, SamplingOptions
from edgephi.ort import huge_pages
from edgephi.ort.huge_pages import HugePages, own_memory, without
from support.bundles import small_bundle

HUGE = huge_pages._huge_page_size()
needs_huge_pages = pytest.mark.skipif(not HUGE, reason="the system has no huge pages, or may not use them")
BLOCKS = 4


def _wait(is_done: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not is_done() and time.monotonic() < end:
        time.sleep(0.005)
    return is_done()


def _mapped(num_blocks: int) -> tuple[mmap.mmap, NDArray[np.uint8], int]:
    """Memory of its own and the blocks in it, from their first byte on, which is at the given address."""
    pages = mmap.mmap(-1, (num_blocks + 1) * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = np.frombuffer(pages, np.uint8)
    address = array.ctypes.data
    start = -(-address // HUGE) * HUGE
    return pages, array[start - address : start - address + num_blocks * HUGE], start


def _kilobytes(address: int, name: str) -> int:
    """Of the mapping that holds the address."""
    text = Path("/proc/self/smaps").read_text(encoding="utf-8")
    for start, end, body in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*\n((?:[A-Z].*\n)+)", text, re.MULTILINE):
        if int(start, 16) <= address < int(end, 16):
            found = re.search(rf"^{name}: +(\d+) kB", body, re.MULTILINE)
            return int(found[1]) if found else 0
    raise AssertionError("not mapped")


@pytest.mark.parametrize(
    ("ranges", "others", "left"),
    [
        ([(0, 10)], [], [(0, 10)]),
        ([(0, 10)], [(0, 10)], []),
        ([(0, 10)], [(2, 4), (6, 8)], [(0, 2), (4, 6), (8, 10)]),
        ([(5, 10), (20, 30)], [(0, 6), (9, 25)], [(6, 9), (25, 30)]),
        ([(5, 10), (12, 14)], [(3, 13)], [(13, 14)]),
        ([(5, 10)], [(0, 2), (12, 15)], [(5, 10)]),
    ],
)
def test_only_memory_that_appeared_is_taken(
    ranges: list[tuple[int, int]], others: list[tuple[int, int]], left: list[tuple[int, int]]
):
    """The rest belongs to the program that the model runs in."""
    assert list(without(ranges, others)) == left


@needs_huge_pages
def test_new_memory_is_found():
    before = own_memory()
    pages, array, start = _mapped(BLOCKS)
    array[:] = 1
    appeared = list(without(own_memory(), before))
    assert any(first <= start and start + BLOCKS * HUGE <= last for first, last in appeared)
    pages.closed  # noqa: B018 - kept until here


@needs_huge_pages
def test_filled_blocks_move_and_keep_what_they_hold():
    _pages, array, start = _mapped(BLOCKS)
    array[:] = np.random.default_rng(0).integers(0, 256, array.size, np.uint8)
    content = array.tobytes()
    moved = HugePages()
    moved.take([(start - 5, start + BLOCKS * HUGE + 5)])
    assert moved.num_left == BLOCKS
    moved.resume()
    assert _wait(lambda: moved.num_left == 0)
    if not _wait(lambda: _kilobytes(start, "AnonHugePages") > 0, 2.0):
        pytest.skip("this system cannot move memory")
    assert array.tobytes() == content


@needs_huge_pages
def test_a_block_that_is_partly_unused_is_not_filled_up():
    """A device has the memory that `doctor` said, and no more."""
    _pages, array, start = _mapped(BLOCKS)
    array[:: 2 * mmap.PAGESIZE] = 1
    before = _kilobytes(start, "Rss")
    moved = HugePages()
    moved.take([(start, start + BLOCKS * HUGE)])
    moved.resume()
    assert _wait(lambda: moved.num_left == 0)
    assert _kilobytes(start, "Rss") == before


@needs_huge_pages
def test_nothing_moves_while_a_request_runs(monkeypatch: pytest.MonkeyPatch):
    entered, may_go_on = Event(), Event()

    def slow(*_: object) -> bool:
        entered.set()
        may_go_on.wait(20)
        return False

    monkeypatch.setattr(huge_pages, "_is_filled", slow)
    moved = HugePages()
    moved.take([(HUGE, 4 * HUGE)])
    moved.resume()
    assert entered.wait(20)
    moved.pause()
    may_go_on.set()
    time.sleep(0.05)
    assert moved.num_left == 2
    moved.resume()
    assert _wait(lambda: moved.num_left == 0)


@pytest.mark.parametrize("settings", ["always madvise [never]", "", None])
def test_a_system_without_huge_pages_is_left_alone(
    settings: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huge_pages, "_SETTINGS", tmp_path)
    if settings is not None:
        (tmp_path / "enabled").write_text(settings, encoding="ascii")
    moved = HugePages()
    moved.take([(0, 1 << 30)])
    assert moved.num_left == 0


@needs_huge_pages
def test_a_system_that_hides_its_page_map_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Every request would start a thread that can do nothing, and whoever waits for the end would wait for ever."""
    monkeypatch.setattr(huge_pages, "_PAGE_MAP", tmp_path / "pagemap")
    moved = HugePages()
    moved.take([(HUGE, 4 * HUGE)])
    moved.resume()
    assert _wait(lambda: moved.num_left == 0)


def test_huge_pages_of_half_a_gigabyte_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huge_pages, "_SETTINGS", tmp_path)
    (tmp_path / "enabled").write_text("always [madvise] never", encoding="ascii")
    (tmp_path / "hpage_pmd_size").write_text(str(512 << 20), encoding="ascii")
    assert huge_pages._huge_page_size() == 0


def test_a_program_that_leaves_a_reply_open_ends():
    """Its reply is closed while the interpreter ends, when no thread can start any more."""
    code = (
        "import sys; from edgephi import Model\n"
        "events = Model.load(sys.argv[1], threads=1).stream('hello')\n"
        "next(events)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(small_bundle())], timeout=60, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_system_that_hides_its_maps_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(huge_pages, "_MAPS", tmp_path / "maps")
    assert own_memory() == []


def test_a_model_answers_the_same_before_and_after(monkeypatch: pytest.MonkeyPatch):
    started: list[HugePages] = []
    resume = HugePages.resume
    monkeypatch.setattr(HugePages, "resume", lambda self: (started.append(self), resume(self))[1])
    with Model.load(small_bundle("native", None, None, "int4"), threads=1) as model:
        options = SamplingOptions(max_new_tokens=4)
        before = model.generate("hi", options=options).token_ids
        assert started
        assert _wait(lambda: started[-1].num_left == 0)
        model.clear_cache()
        assert model.generate("hi", options=options).token_ids == before
