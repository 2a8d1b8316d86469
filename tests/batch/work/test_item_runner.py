"""Whatever happens to an item, it becomes a row, in the time that it may take."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgephi_batch.work.item_runner import ItemRunner
from support.batch_work import ScriptedWork, items_of


@pytest.mark.parametrize(
    ("prompt", "error"),
    [
        ("hello", None),
        ("fail no such file", "no such file"),
        ("break a library", "ZeroDivisionError: a library"),
        ("wait 60", "took more than 0.2 s; raise --item-s"),
    ],
)
def test_an_item_becomes_a_row(prompt: str, error: str | None, tmp_path: Path):
    began_s = time.monotonic()
    row = ItemRunner(ScriptedWork(folder=str(tmp_path)), 0.2).run(items_of(prompt)[0])
    assert (json.loads(row.line)["error"], row.is_failed) == (error, error is not None)
    assert time.monotonic() - began_s < 10


def test_an_item_that_is_stuck_in_native_code_ends_its_worker(tmp_path: Path):
    """Otherwise a damaged file would hold a worker until somebody looks."""
    script = (
        "from edgephi_batch.work import item_runner\n"
        "from support.batch_work import ScriptedWork, items_of\n"
        "item_runner.GRACE_S = 0.1\n"
        f"item_runner.ItemRunner(ScriptedWork(folder={str(tmp_path)!r}), 0.1).run(items_of('sleep 60')[0])"
    )
    tests = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=tests, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
