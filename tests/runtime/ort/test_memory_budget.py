"""What this process may hold is a limit that the user sets; it must be kept, and said in words."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from edgephi import Model
from edgephi.base.errors import CapacityError
from edgephi.ort.memory_budget import check_budget, held_bytes
from support.bundles import small_bundle
from support.shell import invoke

MIB = 1 << 20


def test_held_memory_is_the_process_own_without_pages_of_files(tmp_path: Path):
    """Mapped weights cost nothing that the system cannot take back, so they must not count."""
    (tmp_path / "weights").write_bytes(bytes(64 * MIB))
    before = held_bytes()
    with (tmp_path / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 0
        assert held_bytes() - before < 16 * MIB
    taken = np.ones(64 * MIB, np.uint8)
    assert held_bytes() - before > 48 * MIB
    del taken


def test_swapped_and_shared_memory_counts(tmp_path: Path):
    (tmp_path / "proc/self").mkdir(parents=True)
    status = "VmRSS:\t 900 kB\nRssAnon:\t 100 kB\nRssFile:\t 700 kB\nRssShmem:\t 20 kB\nVmSwap:\t 3 kB\n"
    (tmp_path / "proc/self/status").write_text(status, encoding="utf-8")
    assert held_bytes(root=tmp_path) == 123 << 10
    assert held_bytes(root=tmp_path / "none") > MIB  # the peak, where the system does not tell


def test_what_is_left_is_enough_to_the_byte(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edgephi.ort.memory_budget.held_bytes", lambda: 300 * MIB)
    check_budget("decoder.onnx", 100 * MIB, 400 * MIB)
    check_budget("decoder.onnx", 1 << 50, None)
    words = r"decoder\.onnx: takes at least .* but 104\.86 MB are left of the 419\.43 MB allowed; raise --memory"
    with pytest.raises(CapacityError, match=words):
        check_budget("decoder.onnx", 100 * MIB + 1, 400 * MIB)


def test_a_graph_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch):
    words = r"{}\.onnx: takes at least .* allowed; raise --memory"
    with pytest.raises(CapacityError, match=words.format("decoder_text")):
        Model.load(small_bundle(), threads=1, memory_bytes=1000)
    with Model.load(small_bundle(), threads=1, memory_bytes=1 << 40, with_adapters=True) as model:
        monkeypatch.setattr("edgephi.ort.memory_budget.held_bytes", lambda: 1 << 40)
        with pytest.raises(CapacityError, match=words.format("speech")):
            model.generate("write it down", audio=[(np.zeros(8000, np.float32), 16_000)])


def test_a_limit_without_room_for_prefill_gives_the_same_answer_and_one_note(monkeypatch: pytest.MonkeyPatch):
    """The decoder's graph fits, the passes of the graph for prefill do not."""
    folder, prompt = small_bundle(recipe="int4", kv_cache="int8", prefill="int8"), "one two three " * 40
    command = ["run", str(folder), prompt, "--max-new-tokens", "8", "--threads", "1", "--no-speculate"]
    monkeypatch.setattr("edgephi.decoder.prefill_graph.work_bytes", lambda *_: 1 << 50)
    monkeypatch.setattr("edgephi.decoder.crossover.stored", lambda _: 16)
    limited = invoke(*command, "--memory", "8GB")
    assert limited.exit_code == 0
    assert limited.stderr.count("note: prompts are read by the decoder's own graph, which is slower: ") == 1
    assert "raise --memory" in limited.stderr
    assert "note" not in invoke(*command, "--memory", "8GB", "--quiet").stderr
    monkeypatch.setattr("edgephi.decoder.crossover.stored", lambda _: 0)
    assert limited.stdout == invoke(*command).stdout
