"""lm-evaluation-harness asks a model folder: its marks must be those of the model asked directly.

The harness has an environment of its own, which `make lm-eval` makes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgephi import Model
from edgephi_evaluate.report.runs import read_reports
from edgephi_evaluate.runs.folder import read_records, suite_folder
from support.bundles import nano_bundle
from support.harness_tasks import WRONG, likelihood, reply, rows, write_tasks

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "build/lm-eval/bin/python"

pytestmark = pytest.mark.lm_eval


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(nano_bundle()) as loaded:
        yield loaded


def _evaluate(data: Path, run: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from edgephi.__main__ import program; program()"
    command = [str(PYTHON), "-c", program, "evaluate", str(nano_bundle()), *arguments, "--data", str(data)]
    return subprocess.run([*command, "-o", str(run)], capture_output=True, text=True, check=False, timeout=300)


def test_marks_are_those_of_the_model_asked_directly_and_a_run_goes_on(model: Model, tmp_path: Path):
    data, run = write_tasks(tmp_path / "data"), tmp_path / "run"
    names = ("lm-eval:nano_replies", "lm-eval:nano_options")
    done = _evaluate(data, run, *names)
    assert done.returncode == 0, done.stderr
    asked = rows()
    replies = {record.id.rpartition("/")[2]: record for record in read_records(suite_folder(run, names[0]))}
    assert {n: record.counts[0] for n, record in replies.items()} == {
        str(n): float(reply(model, row["question"]) == row["answer"]) for n, row in enumerate(asked)
    }
    options = {record.id.rpartition("/")[2]: record for record in read_records(suite_folder(run, names[1]))}
    assert {n: record.counts[0] for n, record in options.items()} == {
        str(n): float(likelihood(model, row["question"], row["answer"]) > likelihood(model, row["question"], WRONG))
        for n, row in enumerate(asked)
    }
    values = {one.suite: one.whole.estimate.value for one in read_reports((run,), None)[0].summaries}
    assert 30 <= values[names[0]] <= 60
    assert values[names[1]] >= 50
    before = [(suite_folder(run, name) / "items-1-of-1.jsonl").read_bytes() for name in names]
    for name in names:  # the harness's own cache of requests gives the same answers
        (suite_folder(run, name) / "items-1-of-1.jsonl").unlink()
    assert _evaluate(data, run, *names).returncode == 0
    assert [(suite_folder(run, name) / "items-1-of-1.jsonl").read_bytes() for name in names] == before


def test_a_task_that_the_harness_does_not_know_is_one_line(tmp_path: Path):
    done = _evaluate(write_tasks(tmp_path / "data"), tmp_path / "run", "lm-eval:nano_replise")
    assert done.returncode == 2
    assert "lm-eval:nano_replise: the harness cannot run it" in done.stderr.splitlines()[-1]
    done = _evaluate(tmp_path / "data", tmp_path / "run", "lm-eval:nano_replies", "--shard", "1/2")
    assert done.returncode == 2
    assert "leave --shard out" in done.stderr
