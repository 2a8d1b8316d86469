"""Rows survive any end of the process, and the finished file has one for each item, in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgephi.base.errors import ConfigError
from edgephi_batch.result_folder import ResultFolder
from edgephi_batch.row import Row
from edgephi_batch.run_record import RunRecord

RECORD = RunRecord(command="ask", model="a1 float", request="{}")


def _row(item_id: str, text: str = "", error: str | None = None) -> Row:
    return Row.of({"id": item_id, "error": error, "text": text})


def _texts(folder: Path) -> list[tuple[str, str]]:
    rows = map(json.loads, (folder / "results.jsonl").read_text(encoding="utf-8").splitlines())
    return [(row["id"], row["text"]) for row in rows]


def test_the_finished_file_has_the_last_row_of_each_item_in_the_order_of_the_input(tmp_path: Path):
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        for row in (_row("b", "1"), _row("a", "2"), _row("b", "3"), _row("gone", "4")):
            folder.add(row)
        assert not (tmp_path / "out" / "results.jsonl").exists()
        folder.finish(["a", "b"])
    assert _texts(tmp_path / "out") == [("a", "2"), ("b", "3")]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["results.jsonl", "run.json"]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_does_not_count_and_is_written_over(cut: int, tmp_path: Path):
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        for one in ("a", "b"):
            folder.add(_row(one, "first"))
    partial = tmp_path / "out" / "results.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-cut])
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        assert (folder.has("a"), folder.has("b")) == (True, False)
        folder.add(_row("b", "second"))
        folder.finish(["a", "b"])
    assert _texts(tmp_path / "out") == [("a", "first"), ("b", "second")]


def test_a_finished_folder_can_be_added_to(tmp_path: Path):
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        folder.add(_row("a", "kept"))
        folder.add(_row("b", error="no such file"))
        folder.finish(["a", "b"])
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        assert [folder.has(one, failed_too=False) for one in ("a", "b", "c")] == [True, False, False]
        assert folder.num_failed(["a", "b", "c"]) == 1
        folder.add(_row("c", "new"))
        folder.add(_row("b", "mended"))
        folder.finish(["c", "b", "a"])
    assert _texts(tmp_path / "out") == [("c", "new"), ("b", "mended"), ("a", "kept")]


@pytest.mark.parametrize(
    ("field", "message"),
    [("command", "another command"), ("model", "another model"), ("request", "another prompt or other options")],
)
def test_rows_of_another_run_are_not_mixed_in(field: str, message: str, tmp_path: Path):
    with ResultFolder(tmp_path / "out", RECORD) as folder:
        folder.add(_row("a"))
    fields = {"command": "ask", "model": "a1 float", "request": "{}", field: "other"}
    with pytest.raises(ConfigError, match=f"holds rows of {message}; give the same again, or choose another --output"):
        ResultFolder(tmp_path / "out", RunRecord(**fields))


def test_two_runs_cannot_write_one_folder(tmp_path: Path):
    with ResultFolder(tmp_path / "out", RECORD), pytest.raises(ConfigError, match="another process is writing it"):
        ResultFolder(tmp_path / "out", RECORD)
    ResultFolder(tmp_path / "out", RECORD).close()


def test_other_peoples_folders_and_places_that_cannot_be_written_are_refused(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="exists and is no output of `edgephi batch`"):
        ResultFolder(tmp_path / "mine", RECORD)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match=r"cannot be written .*choose another --output"):
        ResultFolder(tmp_path / "no" / "such" / "out", RECORD)


def test_a_record_that_was_torn_is_written_again(tmp_path: Path):
    ResultFolder(tmp_path / "out", RECORD).close()
    record = tmp_path / "out" / "run.json"
    whole = record.read_bytes()
    record.write_bytes(whole[:-10])
    ResultFolder(tmp_path / "out", RECORD).close()
    assert record.read_bytes() == whole
