"""`edgephi bench serve` through its front door: a real server, real direct calls, the demo's model."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from edgephi.cli.main import CommandGroup
from edgephi_bench.commands.main import bench
from edgephi_bench.latency import rounds as turns
from edgephi_bench.serving import rounds, run
from edgephi_bench.serving.fairness import FAIRNESS
from edgephi_bench.serving.rounds import RoundResult, RoundRunner
from edgephi_bench.serving.server_process import ServerProcess
from support.bundles import nano_bundle, small_bundle

group = CommandGroup("edgephi")
group.get_command = lambda ctx, name: bench  # type: ignore[method-assign]
_SMALL = ("--new-tokens", "5", "--prompt-tokens", "20", "--audio-s", "0.5", "--image", "64x48", "--threads", "1")


@pytest.fixture(autouse=True)
def quick(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PAUSE_SECONDS", 0)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[ServerProcess]:
    """Those that were started."""
    started = []

    class Noted(ServerProcess):
        def __init__(self, plan: Any) -> None:
            super().__init__(plan)
            started.append(self)

    monkeypatch.setattr(run, "ServerProcess", Noted)
    return started


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(group, ["bench", "serve", *map(str, arguments)])


def _error(result: Result) -> str:
    return result.stderr.splitlines()[-1]


def test_every_kind_is_measured_on_both_sides(
    tmp_path: Path, servers: list[ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPHI_API_KEY", "a key of another server")
    page = tmp_path / "page.html"
    result = _run(
        nano_bundle(), "--clients", "1,2", "--runs", "2", "--questions", "6", *_SMALL, "--json", "--html", page
    )
    assert result.exit_code == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    assert (report["serving_report_version"], report["clients"], report["new_tokens"]) == (1, [1, 2], 5)
    assert report["differing"] == 0  # the server's replies are the direct calls', letter by letter, beside others too
    figures = {(one["runner"], one["mode"], one["name"], one["setting"]["clients"]): one for one in report["figures"]}
    for mode in ("text", "speech", "vision"):
        for side in ("server", "direct"):
            first, token, whole = (
                figures[side, mode, name, 1]["samples"]
                for name in ("time to first token", "time per output token", "end to end")
            )
            for one, each, all_s in zip(first, token, whole, strict=True):
                assert 0 < one < one + each < all_s
        assert len(figures["server", mode, "overhead per token", 1]["samples"]) == 2
        assert len(figures["server", mode, "time to first token", 2]["samples"]) == 4  # two clients, two rounds
        assert ("direct", mode, "time to first token", 2) not in figures
    assert figures["server", "mixed", "throughput", 2]["unit"] == "tokens/s"
    assert [line.partition("]")[0].partition(",")[0] for line in result.stderr.splitlines()] == [
        f"[{number}/13" for number in range(1, 14)
    ]
    waits, whole, alone, share = (
        next(one["samples"] for one in report["figures"] if one["name"] == name) for name in FAIRNESS
    )
    assert (len(waits), report["questions"]) == (6, 6)
    assert len(alone) == len(share) == min(len(whole), 3)
    assert share == pytest.approx([one / other for one, other in zip(whole, alone, strict=False)])
    beside, note = report["notes"]
    assert re.search(r"direct calls read theirs in turn, \d+% of their time$", beside)
    assert re.fullmatch(r"6 questions behind \d+ images: first token within \d+\.\d\d s \(p95\)", note)
    assert [server._process.poll() for server in servers] == [0]
    ElementTree.fromstring(page.read_text().partition("\n")[2])  # well-formed
    assert "2 clients" in page.read_text()
    assert "Short questions while another client asks about images" in page.read_text()


def test_the_tables_show_a_folder_that_takes_only_text() -> None:
    result = _run(small_bundle(modalities=("text",)), "--clients", "2", "--runs", "1", *_SMALL)
    assert result.exit_code == 0, result.stderr
    assert "2 clients" in result.stdout
    assert "audio" not in result.stdout.partition("side direct")[0]
    assert "overhead: not measured, as it takes one client; add 1 to --clients" in result.stdout


def test_a_server_that_dies_ends_the_measurement_with_its_reason(
    servers: list[ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(self: RoundRunner, clients: int, number: int) -> RoundResult:
        os.kill(servers[0]._process.pid, signal.SIGKILL)
        return whole(self, clients, number)

    whole = RoundRunner.round
    monkeypatch.setattr(RoundRunner, "round", kill)
    result = _run(nano_bundle(), "--clients", "1", "--runs", "1", *_SMALL)
    assert (result.exit_code, _error(result)) == (
        1,
        "error: edgephi serve: killed by SIGKILL; the system may have run out of memory",
    )


def test_a_refusal_is_shown_in_the_servers_words(servers: list[ServerProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "chat_body", lambda *_: b'{"messages": []}')
    result = _run(small_bundle(modalities=("text",)), "--clients", "1", "--runs", "1", *_SMALL)
    assert result.exit_code == 1
    assert re.match(r"error: the server answered 400: .*messages", _error(result))
    assert servers[0]._process.poll() is not None


def test_a_missing_extra_is_named_with_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(\"No module named 'starlette'\")")
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError(\"No module named 'uvicorn'\")")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    result = _run(nano_bundle(), *_SMALL)
    assert result.exit_code == 1
    assert re.search(r'edgephi serve` needs more packages .* run: pip install "edgephi\[serve\]"', _error(result))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--clients", "0,4"), "--clients is 0; a server takes 1 to 64 at once"),
        (("--clients", "65"), "--clients is 65; a server takes 1 to 64 at once"),
        (("--clients", "many"), "--clients is 'many'; use numbers"),
        (("--image", "64x48,80x60"), "--image has 2 values; a server is measured with one of each"),
        (("--new-tokens", "1"), "--new-tokens is 1;"),
        (("--html", "/nowhere/page.html"), "/nowhere"),
        (("--questions", "-1"), "-1"),
    ],
)
def test_options_are_checked_before_anything_starts(
    options: tuple[str, str], message: str, servers: list[ServerProcess]
) -> None:
    result = _run(nano_bundle(), *options)
    assert (result.exit_code, servers) == (2, [])
    assert message in _error(result)


def test_questions_beside_images_need_a_folder_that_takes_them(servers: list[ServerProcess]) -> None:
    result = _run(small_bundle(modalities=("text",)), "--questions", "3", *_SMALL)
    assert (result.exit_code, servers) == (2, [])
    assert "--questions is 3, and this folder takes no images to ask beside; use 0" in _error(result)


def test_what_is_no_model_folder_is_refused(tmp_path: Path, servers: list[ServerProcess]) -> None:
    result = _run(tmp_path)
    assert (result.exit_code, servers) == (3, [])
    assert str(tmp_path) in _error(result)
