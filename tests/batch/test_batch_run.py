"""A run keeps exactly one row of each item, whatever its engine gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from edgephi.base.errors import EdgeError
from edgephi_batch.batch_run import BatchProgress, run_batch
from edgephi_batch.items import Item
from edgephi_batch.result_folder import ResultFolder
from edgephi_batch.row import Row
from edgephi_batch.run_record import RunRecord
from support.batch_work import items_of

RECORD = RunRecord(command="ask", model="a1 float", request="{}")


def _engine(*rows: tuple[str, str | None]) -> Callable[[Sequence[Item]], Generator[Row, None, None]]:
    """Gives these ids and errors, whatever it is to do."""

    def run(_: Sequence[Item]) -> Generator[Row, None, None]:
        for number, (item_id, error) in enumerate(rows):
            yield Row.of({"id": item_id, "error": error, "number": number})

    return run


def _numbers(folder: Path) -> list[int]:
    return [json.loads(line)["number"] for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_block_that_was_done_twice_gives_one_row_of_each_item(tmp_path: Path):
    seen: list[BatchProgress] = []
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        engine = _engine(("1", None), ("0", None), ("1", "later"), ("foreign", None), ("2", "bad"))
        state = run_batch(items_of("a", "b", "c"), folder, engine, on_progress=seen.append)
    assert (state.total, state.done, state.failed, state.new) == (3, 3, 1, 3)
    assert [one.done for one in seen] == [0, 1, 2, 3]
    assert _numbers(tmp_path / "out") == [1, 0, 4]


def test_an_engine_that_loses_an_item_is_no_finished_run(tmp_path: Path):
    lost = pytest.raises(EdgeError, match="1 of 2 items got no row; the same command goes on with them")
    with ResultFolder(tmp_path / "out", RECORD) as folder, lost:
        run_batch(items_of("a", "b"), folder, _engine(("1", None)))
    assert not (tmp_path / "out" / "results.jsonl").exists()
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        state = run_batch(items_of("a", "b"), folder, _engine(("0", None)))
    assert (state.new, _numbers(tmp_path / "out")) == (1, [0, 0])


def test_failed_items_are_done_again_only_where_that_is_asked_for(tmp_path: Path):
    for retry, engine, new, failed in (
        (False, _engine(("0", None), ("1", "bad")), 2, 1),
        (False, _engine(), 0, 1),
        (True, _engine(("1", "still bad")), 1, 1),
        (True, _engine(("1", None)), 1, 0),
        (True, _engine(), 0, 0),
    ):
        with ResultFolder(tmp_path / "out", RECORD) as folder:
            state = run_batch(items_of("a", "b"), folder, engine, retry_failed=retry)
        assert (state.new, state.failed, state.done) == (new, failed, 2)
