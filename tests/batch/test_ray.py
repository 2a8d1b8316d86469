"""`edgephi batch` on Ray, by local actors and on a cluster of one node: the rows are those of a plain run."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.bundles import small_bundle
from support.media_files import write_image
from support.process_tree import descendants

pytestmark = pytest.mark.ray
TESTS = Path(__file__).parents[1]
#: The scripted work in local actors: rows of the items whose prompts are the arguments, one a line.
SCRIPT = """
import json, sys
from edgephi_batch.engines.ray_data import RayActors, ray_session, run_on_ray
from support.batch_work import ScriptedWork, items_of
folder, opening, *prompts = sys.argv[1:]
with ray_session(None, 2):
    work = ScriptedWork(folder=folder, opening=opening)
    actors = RayActors(count=2, threads=1, memory_bytes=0)
    rows = list(run_on_ray(work, items_of(*prompts), actors, item_s=60.0))
for row in rows:
    print(row.line)
"""


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgephi", "batch", *map(str, arguments)]


def _done(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def _rows(folder: Path) -> list[dict]:
    """The rows without what differs between two runs."""
    lines = (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [{**json.loads(line), "elapsed_s": None} for line in lines]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, an image and a file that is not there."""
    folder = tmp_path_factory.mktemp("corpus")
    write_image(folder / "a.png")
    items = [{"id": f"{number}", "prompt": f"question {number}"} for number in range(58)]
    items += [{"id": "image", "prompt": "what?", "images": ["a.png"]}, {"id": "gone", "images": ["b.png"]}]
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def plain(corpus: Path) -> list[dict]:
    """The rows of one process."""
    done = _done(*_ask(corpus, corpus / "plain"), "--engine", "processes", "--actors", 1)
    assert done.returncode == 1, done.stderr
    return _rows(corpus / "plain")


def _ask(corpus: Path, output: Path) -> tuple[object, ...]:
    options = ("--prompt", "what?", "--max-new-tokens", 8, "--threads", 1, "--json")
    return ("ask", small_bundle(), corpus / "in.jsonl", "-o", output, *options)


def test_a_run_whose_driver_and_actors_are_killed_gives_the_rows_of_a_plain_one(
    corpus: Path, plain: list[dict], tmp_path: Path
):
    arguments = (*_ask(corpus, tmp_path / "out"), "--engine", "ray", "--actors", 2)
    driver = subprocess.Popen(_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "out" / "results.jsonl.partial"
    _await_rows(partial, 4, driver)
    driver.kill()
    driver.communicate()
    before = partial.read_bytes().count(b"\n")
    assert before < len(plain)
    driver = subprocess.Popen(_command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _await_rows(partial, before + 4, driver)
    for actor in _actors(driver.pid):
        os.kill(actor, signal.SIGKILL)
    stdout, stderr = driver.communicate(timeout=120)
    assert driver.returncode == 1, stderr
    summary = json.loads(stdout)
    assert (summary["items"], summary["failed"], summary["engine"]) == (60, 1, "ray")
    assert summary["new"] == 60 - before
    assert summary["workers"]["workers"] == 2
    assert _rows(tmp_path / "out") == plain


def _await_rows(partial: Path, count: int, driver: subprocess.Popen[str]) -> None:
    end_s = time.monotonic() + 90
    while not partial.exists() or partial.read_bytes().count(b"\n") < count:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < end_s, "no rows came"
        time.sleep(0.02)


def _actors(driver: int) -> list[int]:
    found = descendants(driver, "ray::MapBatches(_Actor)") + descendants(driver, "ray::MapWorker(MapBatches(_Actor)")
    assert found, "no actor runs"
    return found


def test_items_that_end_their_actor_are_given_up_and_cost_no_other(tmp_path: Path):
    prompts = [*["hello"] * 10, "end-once", "hello", "end", "fail no such file", *["hello"] * 10]
    done = _scripted(tmp_path, "", *prompts)
    rows = {row["id"]: row["error"] for row in map(json.loads, done.stdout.splitlines())}
    assert set(rows) == {str(number) for number in range(len(prompts))}, done.stderr
    failed = {key: error for key, error in rows.items() if error}
    assert (set(failed), failed["13"]) == ({"12", "13"}, "no such file")
    assert failed["12"].startswith("ended its worker 2 times")


def test_actors_that_cannot_open_the_work_end_the_run_with_the_reason(tmp_path: Path):
    done = _scripted(tmp_path, "fails", "hello", "hello")
    assert done.returncode == 1
    assert "no such model here" in done.stderr.splitlines()[-1]


def _scripted(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-c", SCRIPT, str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)


def test_a_cluster_whose_cpus_are_all_taken_by_actors_does_the_work(
    corpus: Path, plain: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Reading and writing need no CPU of their own: a run that waits for one waits for ever."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # of the cluster, so of who uses it
    with _cluster(2) as address:
        done = _done(*_ask(corpus, tmp_path / "out"), "--address", address)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["workers"]["workers"] == 2
    assert _rows(tmp_path / "out") == plain


@contextmanager
def _cluster(cpus: int) -> Iterator[str]:
    """A node of its own, ended by its process: `ray stop` would end every other one of this machine too."""
    port = 20_000 + os.getpid() % 10_000
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    options = [f"--num-cpus={cpus}", "--include-dashboard=false", f"--object-store-memory={100 << 20}"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [*command, *options, "--disable-usage-stats"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert any("Ray runtime started" in line for line in process.stdout)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=60)
