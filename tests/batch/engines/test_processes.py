"""Worker processes: every item has one row, whatever ends a worker."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from edgephi.base.errors import ConfigError, EdgeError
from edgephi_batch.engines.processes import run_in_processes
from edgephi_batch.work.item_runner import ended_worker
from support.batch_work import ScriptedWork, items_of


def _run(folder: Path, *prompts: str, workers: int = 2) -> dict[str, str | None]:
    """The error of each item."""
    rows = list(run_in_processes(ScriptedWork(folder=str(folder)), items_of(*prompts), workers=workers, item_s=60.0))
    assert sorted(row.id for row in rows) == sorted(map(str, range(len(prompts))))
    return {row.id: json.loads(row.line)["error"] for row in rows}


def test_workers_that_end_are_replaced_and_an_item_that_ends_two_is_given_up(scripted: Path):
    errors = _run(scripted, *["hello"] * 5, "end-once", "hello", "end", "fail no such file", *["hello"] * 3)
    assert (errors.pop("8"), str(errors.pop("7"))[:60]) == ("no such file", ended_worker(60.0)[:60])
    assert set(errors.values()) == {None}


@pytest.mark.parametrize(
    ("opening", "kind", "message"),
    [
        ("fails", ConfigError, "no such model here"),
        ("ends", EdgeError, r"3 workers ended before they were ready \(exit code 9\); use fewer --actors"),
    ],
)
def test_a_worker_that_cannot_begin_ends_the_run(opening: str, kind: type[EdgeError], message: str, scripted: Path):
    work = ScriptedWork(folder=str(scripted), opening=opening)
    with pytest.raises(kind, match=message):
        list(run_in_processes(work, items_of("hello", "hello"), workers=2, item_s=60.0))


def test_closing_the_run_ends_its_workers_at_once(scripted: Path):
    rows = run_in_processes(
        ScriptedWork(folder=str(scripted)), items_of("hello", *["sleep 60"] * 3), workers=1, item_s=90.0
    )
    process_id = json.loads(next(rows).line)["pid"]
    began_s = time.monotonic()
    rows.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)
    assert time.monotonic() - began_s < 10


def test_workers_end_when_the_program_that_started_them_is_killed(scripted: Path):
    """They would hold the memory of a model each for nobody."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            rows = run_in_processes(
                ScriptedWork(folder=str(scripted)), items_of(*["hello"] * 2, "wait 0.3"), workers=1, item_s=60.0
            )
            os.write(writer, f"{json.loads(next(rows).line)['pid']}\n".encode())
            time.sleep(60)
        os._exit(1)
    process_id = int(os.read(reader, 32))
    os.kill(child, 9)
    os.waitpid(child, 0)
    for descriptor in (reader, writer):
        os.close(descriptor)
    end_s = time.monotonic() + 30
    while os.path.exists(f"/proc/{process_id}/cmdline") and Path(f"/proc/{process_id}/cmdline").read_bytes():
        assert time.monotonic() < end_s, "the worker is still there"
        time.sleep(0.05)
