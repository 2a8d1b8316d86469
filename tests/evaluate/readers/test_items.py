"""The same items must come of JSON lines, TSV and Parquet, and a wrong row must be named."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from edgephi.base.errors import ArtifactError, ConfigError
from edgephi_evaluate.item import Item, Turn
from edgephi_evaluate.readers.items import items_file, read_items
from edgephi_evaluate.readers.rows import read_rows

PNG, WAV = b"\x89PNG" + bytes(400), b"RIFF" + bytes(500)


def _content(item: Item) -> tuple[object, ...]:
    media = [one.read() for one in item.media]
    data = [Path(one).read_bytes() if isinstance(one, str) else one for one in media]
    return item.id, item.turns, data, item.answers, item.group, item.part, item.size_bytes


def _write_all(folder: Path) -> list[Path]:
    (folder / "media").mkdir()
    (folder / "media/1.png").write_bytes(PNG)
    (folder / "media/1.wav").write_bytes(WAV)
    rows = [
        {"id": "1", "prompt": "What\tis it?", "answers": ["cup", "a cup"], "group": "g", "part": "p"},
        {"id": "2", "prompt": 'Say "no"', "answers": ["no"], "group": "2", "part": ""},
    ]
    media = {"images": ["media/1.png"], "audio": ["media/1.wav"]}
    lines = [{**rows[0], **media}, rows[1]]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    import csv  # noqa: PLC0415 - for one file

    with (folder / "items.tsv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, [*rows[0], "images", "audio"], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        encoded = base64.b64encode(WAV).decode()
        writer.writerow(
            {**rows[0], "answers": json.dumps(rows[0]["answers"]), "images": "media/1.png", "audio": encoded}
        )
        writer.writerow({**rows[1], "answers": "no", "images": "", "audio": ""})
    table = [
        {**rows[0], "images": [{"bytes": PNG, "path": "1.png"}], "audio": {"bytes": WAV, "path": "1.wav"}},
        {**rows[1], "images": None, "audio": None},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "items.parquet", row_group_size=1)
    return [folder / f"items.{suffix}" for suffix in ("jsonl", "tsv", "parquet")]


def test_jsonl_tsv_and_parquet_give_the_same_items(tmp_path: Path):
    first, *others = ([_content(one) for one in read_items(path)] for path in _write_all(tmp_path))
    assert first[0][1] == (Turn(role="user", text="What\tis it?"),)
    assert first[0][2] == [PNG, WAV]
    assert first[1][3:6] == (("no",), "2", "")
    assert others == [first, first]
    assert items_file(tmp_path) == tmp_path / "items.jsonl"


def test_embedded_media_can_be_sent_to_other_processes(tmp_path: Path):
    *_, parquet = _write_all(tmp_path)
    item = pickle.loads(pickle.dumps(next(read_items(parquet))))
    assert item.audio[0].read() == WAV
    assert item.audio[0].block == f"{parquet}:0:audio"


def test_messages_hold_tools_and_several_turns(tmp_path: Path):
    path = tmp_path / "items.jsonl"
    messages = [{"role": "system", "content": "s", "tools": "[]"}, {"role": "user", "content": "u"}]
    path.write_text(json.dumps({"id": 7, "messages": messages, "answer": 12}), encoding="utf-8")
    item = next(read_items(path))
    assert item.turns == (Turn(role="system", text="s", tools="[]"), Turn(role="user", text="u"))
    assert (item.id, item.answers, item.group) == ("7", ("12",), "7")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "1"}', "row 1: no prompt"),
        ('{"prompt": "x"}', "row 1: no id; it has prompt"),
        ('{"id": "1", "prompt": "x", "colour": 1}', "unknown column 'colour'"),
        ('{"id": "1", "prompt": "x", "images": ["no.png"]}', "no.png is not there"),
        ('{"id": "1", "messages": [{"role": "bot", "content": ""}]}', "message 1.role"),
        ('{"id": "1", "messages": []}', "give one or more"),
        ('{"id": "1", "prompt": "x", "messages": [{"role": "user", "content": ""}]}', "give one of them"),
        ('{"id": {}, "prompt": "x"}', "id is no text"),
        ("[]", "line 1: no JSON object"),
        ("{", "line 1: not valid JSON"),
    ],
)
def test_a_row_that_is_no_item_is_named(tmp_path: Path, line: str, words: str):
    path = tmp_path / "items.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=words) as caught:
        list(read_items(path))
    assert str(path) in str(caught.value)


def test_files_that_are_no_data_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"end in \.jsonl, \.json, \.tsv, \.parquet"):
        list(read_rows(tmp_path / "items.csv"))
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(ArtifactError, match="is no Parquet file"):
        list(read_rows(tmp_path / "a.parquet"))
    (tmp_path / "a.tsv").write_text("id\tprompt\n1\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="row 1: has not as many fields"):
        list(read_rows(tmp_path / "a.tsv"))
    with pytest.raises(ArtifactError, match="cannot be read"):
        list(read_rows(tmp_path / "absent.jsonl"))
