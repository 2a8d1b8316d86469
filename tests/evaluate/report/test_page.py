"""The page must need no other file, show the worst items with their media, and take no item's text for HTML."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
from PIL import Image

from edgephi_evaluate.report.manifests import write_manifests
from edgephi_evaluate.report.page import page
from edgephi_evaluate.report.runs import read_reports
from edgephi_evaluate.report.worst import worst_items
from edgephi_evaluate.runs.record import ItemRecord
from edgephi_evaluate.suites.registry import find_suite
from support.evaluation import SUITE, ScriptedEngine, run, write_items


def _png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (900, 30), "red").save(stream, "PNG")
    return stream.getvalue()


def _parquet(folder: Path) -> Path:
    """Items with an image and a recording inside of the file."""
    folder.mkdir()
    recording = io.BytesIO()
    soundfile.write(recording, np.zeros(1600, np.float32), 16_000, format="FLAC")
    rows = [
        {
            "id": str(number),
            "prompt": "<script>alert(1)</script>",
            "answers": ["a"],
            "images": [{"bytes": _png(), "path": "x.png"}],
            "audio": {"bytes": recording.getvalue(), "path": "x.flac"},
        }
        for number in range(3)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "items.parquet")
    return folder


def test_embedded_media_are_shown_and_texts_escaped(tmp_path: Path):
    replies = {0: "<b>x</b>", 1: "fail"}
    engine = ScriptedEngine(replies.get)
    folder = run(engine, _parquet(tmp_path / "data"), tmp_path / "run")
    html = page(read_reports((folder,), None))
    assert html.count('<img src="data:image/jpeg;base64,') == 2
    assert html.count('src="data:audio/wav;base64,') == 2
    assert "<script" not in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "item 1 fails" in html
    assert "http" not in html.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    (tmp_path / "data/items.parquet").unlink()
    assert "not there any more" in page(read_reports((folder,), None))


def test_two_runs_stand_beside_each_other(tmp_path: Path):
    data = write_items(tmp_path / "data")
    folders = [run(ScriptedEngine(), data, tmp_path / name) for name in ("int4", "fp32")]
    html = page(read_reports(folders, folders[1]))
    assert "int4: all" in html
    assert "+0.00 [+0.00, +0.00]" in html


def test_the_worst_come_first_and_what_is_right_not_at_all():
    suite = find_suite(SUITE)
    first = ItemRecord(id="1", group="1", part="", prompt="", reply="", finish_reason="stop", counts=(1, 9))
    records = [
        first,
        dataclasses.replace(first, id="2", counts=(0, 9)),
        dataclasses.replace(first, id="3", counts=(4, 9)),
        dataclasses.replace(first, id="4", counts=(2, 2), error="no"),
    ]
    assert [one.record.id for one in worst_items(records, suite.metric)] == ["4", "3", "1"]
    assert [one.record.id for one in worst_items(records, suite.metric, 1)] == ["4"]


def test_manifests_have_the_fields_that_the_leaderboards_scorer_reads(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", np.zeros(8000, np.float32), 16_000)
    line = {"id": "1", "audio": ["a.wav"], "answers": ["Hello."], "part": "librispeech test.clean"}
    (data / "items.jsonl").write_text(json.dumps(line), encoding="utf-8")
    folder = run(ScriptedEngine(lambda number, text: "hallo"), data, tmp_path / "my-run", suite="openasr-2026")
    write_manifests(read_reports((folder,), None), tmp_path / "manifests")
    (path,) = (tmp_path / "manifests").iterdir()
    assert path.name == "MODEL_my-run_DATASET_hf-audio-open-asr-leaderboard_librispeech_test.clean.jsonl"
    (entry,) = [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()]
    assert entry == {
        "audio_filepath": str(data / "a.wav"),
        "duration": 0.5,
        "time": 0.5,
        "text": "Hello.",
        "pred_text": "hallo",
    }
