"""`edgephi bench` of a folder with a graph for prefill: both graphs in one run, and what is left to gain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgephi.bundle.bundle import Bundle
from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.engines.workers.edgephi_decoder import open_engine
from edgephi_bench.latency.report import read_report
from edgephi_bench.report.text import markdown
from support.bundles import small_bundle

group = CommandGroup(name="edgephi", commands={"bench": bench})
_OPTIONS = ("--only", "prefill", "--prompt-tokens", "20,300", "--runs", "1", "--threads", "1", "--json")


def _keys(content: dict[str, Any], runner: str = "edgephi") -> set[tuple[str, str, str]]:
    return {(f["mode"], f["name"], f["condition"]) for f in content["figures"] if f["runner"] == runner}


def test_both_graphs_read_prompts_in_turn_and_are_held_against_the_rate_of_int8_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a second set of weights pays must be seen from one run, and how much is left to gain."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = small_bundle(recipe="int4", prefill="int8")
    result = CliRunner().invoke(group, ["bench", str(folder), *_OPTIONS])
    content = json.loads(result.stdout)
    prompts = {("text", "prefill", "20 tokens, 1 thread"), ("text", "prefill", "300 tokens, 1 thread")}
    assert _keys(content) == _keys(content, "edgephi, decode graph") == prompts
    assert {ratio["peer"] for ratio in content["ratios"]} == {"edgephi, decode graph"}
    assert content["prefill_threshold"] % 16 == 0
    sizes = Bundle(folder).manifest.decoder
    weights = 2 * (192 * (192 + 2 * 64 + 192 + 3 * 256))  # two layers: q, k, v, o, gate, up, down
    assert sizes.num_layers == 2
    for floor, tokens in zip(content["arithmetic"], (20, 300), strict=True):
        assert floor["operations"] == 2 * tokens * weights
        assert floor["int8_rate"] > 1e8
        assert floor["reached"] == pytest.approx(floor["operations"] / floor["int8_rate"] / floor["median_s"])
    (tmp_path / "report.json").write_text(result.stdout, encoding="utf-8")
    read = read_report(tmp_path / "report.json")
    assert [floor.operations for floor in read.arithmetic] == [2 * tokens * weights for tokens in (20, 300)]
    shown = markdown(read)
    assert "arithmetic, 300 tokens, 1 thread: the linears' " in shown
    assert "graph for prefill: faster " in shown


def test_a_limit_of_memory_reaches_the_model_and_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast packed weights are must be measurable, and such a report must not be taken for one without a limit."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = small_bundle(recipe="int4", prefill="int8")
    quick = ("--only", "prefill", "--prompt-tokens", "20", "--runs", "1", "--threads", "1", "--json")
    result = CliRunner().invoke(group, ["bench", str(folder), *quick, "--memory", "2GB"])
    (tmp_path / "report.json").write_text(result.stdout, encoding="utf-8")
    report = read_report(tmp_path / "report.json")
    assert report.memory_limit_bytes == 2_000_000_000
    assert "at most 2 GB of memory" in markdown(report)
    for limit, is_packed in (({}, False), ({"memory_bytes": 1 << 40}, True)):
        options = {"model": str(folder), "threads": 1, "kv_cache": "float", "prefill_threshold": 16, "adapter": "none"}
        engine = open_engine(options | limit)
        engine.prefill(40)
        assert engine._decoder._prefill.is_packed == is_packed


def test_a_limit_that_the_model_does_not_fit_ends_the_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = CliRunner().invoke(
        group, ["bench", str(small_bundle(recipe="int4", prefill="int8")), *_OPTIONS, "--memory", "1MB"]
    )
    assert result.exit_code == 1
    message = json.loads(result.stdout)["error"]["message"]
    assert message.endswith("0 B are left of the 1.00 MB allowed; raise --memory")
