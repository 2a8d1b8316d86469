"""Answers of several workers must be those of one model, whatever happens to a worker."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgephi_batch.engines.plan import WorkerOptions
from edgephi_evaluate.engines.worker_engine import WorkerEngine
from edgephi_evaluate.runs.evaluation import Evaluation, evaluate, load_suites
from edgephi_evaluate.runs.folder import read_records, read_run, suite_folder
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.suites.registry import Selection
from support.bundles import nano_bundle
from support.process_tree import descendants

SUITE = "items:contains"


def _data(folder: Path, count: int) -> Path:
    """Texts to repeat, an image, and an image that is no image."""
    folder.mkdir()
    words = ("red", "lamp", "open", "tree", "cat", "small", "kitchen", "door")
    rng = random.Random(7)
    texts = [" ".join(rng.choice(words) for _ in range(rng.randint(2, 9))) for _ in range(count)]
    items = [{"id": str(n), "prompt": f"Repeat: {text}", "answers": [text]} for n, text in enumerate(texts)]
    (folder / "broken.png").write_bytes(b"no image")
    sign = Path(__file__).parents[3] / "nano" / "samples" / "sign.png"
    (folder / "sign.png").write_bytes(sign.read_bytes())
    question = {"prompt": "What does the sign say?", "answers": ["x"]}
    items += [{"id": name, "images": [f"{name}.png"], **question} for name in ("sign", "broken")]
    (folder / "items.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items), encoding="utf-8")
    return folder


def _command(data: Path, run: Path, *others: object) -> list[str]:
    program = "from edgephi.__main__ import program; program()"
    arguments = ("evaluate", nano_bundle(), SUITE, "--data", data, "-o", run, "--threads", 1, *others)
    return [sys.executable, "-c", program, *map(str, arguments)]


def _answers(run: Path) -> dict[str, ItemRecord]:
    """Without what differs between two runs of the same."""
    records = read_records(suite_folder(run, SUITE))
    return {one.id: dataclasses.replace(one, seconds=None, peak_rss_bytes=None, energy_j=None) for one in records}


def _plain(data: Path, run: Path) -> dict[str, ItemRecord]:
    done = subprocess.run(_command(data, run), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stderr  # one of few items is more than 1 %
    return _answers(run)


def test_processes_answer_as_one_model_and_go_on_with_its_run(tmp_path: Path):
    data, run = _data(tmp_path / "data", 6), tmp_path / "run"
    plain = _plain(data, tmp_path / "plain")
    done = subprocess.run(
        _command(data, run, "--engine", "processes", "--actors", 2),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert _answers(run) == plain, done.stderr
    assert plain["broken"].error
    assert plain["sign"].error is None
    assert "2 workers of 1 threads" in done.stderr
    folders = [suite_folder(one, SUITE) for one in (run, tmp_path / "plain")]
    assert read_run(folders[0]).digest == read_run(folders[1]).digest


def test_nothing_is_started_where_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from edgephi import ModelOptions  # noqa: PLC0415
    from edgephi_batch.work.work import WorkerModel  # noqa: PLC0415

    data, run = _data(tmp_path / "data", 2), tmp_path / "run"
    before = _plain(data, run)
    model = WorkerModel(path=str(nano_bundle()), options=ModelOptions())
    engine = WorkerEngine(model, WorkerOptions(on_ray=False), lambda _: pytest.fail("workers were started"))
    wanted = Evaluation(engine=engine, run=run, selection=Selection(), command=("edgephi",))
    evaluate(wanted, load_suites((SUITE,), data, Selection()), lambda _: None)
    assert _answers(run) == before


@pytest.mark.ray
def test_a_run_on_ray_whose_workers_are_killed_equals_a_plain_run(tmp_path: Path):
    data, run = _data(tmp_path / "data", 200), tmp_path / "run"
    plain = _plain(data, tmp_path / "plain")
    driver = subprocess.Popen(
        _command(data, run, "--engine", "ray", "--actors", 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _await_answers(run, 20, driver)
    actors = descendants(driver.pid, "ray::MapBatches(_Actor)")
    actors += descendants(driver.pid, "ray::MapWorker(MapBatches(_Actor)")
    assert actors
    for actor in actors:
        os.kill(actor, signal.SIGKILL)
    killed_at = len((suite_folder(run, SUITE) / "items-1-of-1.jsonl").read_bytes().splitlines())
    stdout, stderr = driver.communicate(timeout=600)
    assert driver.returncode == 0, stderr
    assert killed_at < len(plain) == 202
    assert "word" not in stdout
    assert _answers(run) == plain


def _await_answers(run: Path, count: int, driver: subprocess.Popen[str]) -> None:
    path, end_s = suite_folder(run, SUITE) / "items-1-of-1.jsonl", time.monotonic() + 480
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert driver.poll() is None, driver.communicate()
        assert time.monotonic() < end_s, "no answers came"
        time.sleep(0.02)
