"""docs/examples/optimum/lm_eval_optimum.py must give the marks of edgephi asked directly; `make optimum-lm-eval`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgephi import Model
from edgephi_export import ExportOptions, export
from other_runtimes.optimum.conftest import NANO
from support.bundles import nano_bundle
from support.harness_tasks import WRONG, likelihood, reply, rows, write_tasks

pytestmark = [pytest.mark.optimum, pytest.mark.slow]

PROGRAM = Path(__file__).parents[3] / "docs" / "examples" / "optimum" / "lm_eval_optimum.py"


def test_the_harness_over_optimum_gives_edgephis_marks(tmp_path: Path):
    folder = export(NANO, tmp_path / "optimum", ExportOptions(layout="optimum"))
    tasks = write_tasks(tmp_path / "data") / "lm-eval"
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), "nano_replies,nano_options", str(tasks)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    with Model.load(nano_bundle()) as model:
        exact = [reply(model, row["question"]) == row["answer"] for row in rows()]
        chosen = [
            likelihood(model, row["question"], row["answer"]) > likelihood(model, row["question"], WRONG)
            for row in rows()
        ]
    assert 3 <= sum(exact) <= 6  # marks of all or nothing would prove little
    assert found["nano_replies"]["exact_match,none"] == sum(exact) / len(exact)
    assert found["nano_options"]["acc,none"] == sum(chosen) / len(chosen)
