"""A corpus becomes items: every file or row once, with an id of its own, or one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgephi.base.errors import ConfigError
from edgephi_batch.items import Item, MediaRef
from edgephi_batch.reading.columns import Columns, ItemReader
from edgephi_batch.reading.corpus import read_corpus

SPEECH = ItemReader(columns=Columns(), needs_audio=True)
ANY = ItemReader(columns=Columns(), needs_audio=False)


def _lines(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_folders_recordings_are_items_by_their_paths_in_it(tmp_path: Path):
    for name in ("b.wav", "a.MP3", "talks/c.flac", "notes.txt", "d.png", ".hidden/e.wav", ".f.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    items = read_corpus(str(tmp_path), SPEECH)
    assert [item.id for item in items] == ["a.MP3", "b.wav", "talks/c.flac"]
    assert items[2].audio == (MediaRef(place=str(tmp_path / "talks/c.flac")),)
    asked = read_corpus(str(tmp_path), ANY)
    assert [(item.id, len(item.images)) for item in asked if item.id == "d.png"] == [("d.png", 1)]


def test_a_relative_folder_is_found_by_workers_that_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").touch()
    monkeypatch.chdir(tmp_path)
    assert read_corpus("in", SPEECH)[0].audio[0].place == str(tmp_path / "in" / "a.wav")


def test_lines_have_their_media_beside_them_and_their_ids(tmp_path: Path):
    rows = (
        {"id": "one", "audio": "a.wav", "text": "a reference, which is left alone"},
        {"id": 2, "audio": ["/elsewhere/b.wav"]},
        {"audio": "s3://bucket/c.wav"},
    )
    items = read_corpus(_lines(tmp_path / "list.jsonl", *rows), SPEECH)
    assert [item.id for item in items] == ["one", "2", "s3://bucket/c.wav"]
    assert [item.audio[0].place for item in items] == [
        str(tmp_path / "a.wav"),
        "/elsewhere/b.wav",
        "s3://bucket/c.wav",
    ]


def test_lines_of_text_and_conversations_are_items_too(tmp_path: Path):
    messages = [{"role": "user", "content": "hello"}]
    rows = ({"prompt": "why?"}, {"messages": messages}, {"prompt": "what?", "images": ["a.png", "b.png"]})
    items = read_corpus(_lines(tmp_path / "list.jsonl", *rows), ANY)
    assert [item.id for item in items] == ["line 1", "line 2", "a.png"]
    assert items[0] == Item(id="line 1", prompt="why?")
    assert json.loads(items[1].messages) == messages
    assert len(items[2].images) == 2


def test_columns_can_have_other_names(tmp_path: Path):
    columns = Columns.of(["audio=audio_filepath", "id=utt"])
    place = _lines(tmp_path / "list.jsonl", {"utt": "u1", "audio_filepath": "a.wav"})
    (item,) = read_corpus(place, ItemReader(columns=columns, needs_audio=True))
    assert (item.id, item.audio[0].place) == ("u1", str(tmp_path / "a.wav"))
    for given in ("audio", "audio=", "sound=a"):
        with pytest.raises(ConfigError, match=r"--column is .*; use id, prompt, messages, images, audio"):
            Columns.of([given])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "line 1: not valid JSON"),
        (["[1]"], "line 1: is no JSON object"),
        (['{"audio": 3}'], "line 1: audio is '3'; give a path"),
        (['{"audio": [""]}'], "line 1: audio is .*; give a path"),
        (['{"prompt": "no audio"}'], "line 1: has 0 recordings in its column 'audio'"),
        (['{"audio": ["a.wav", "b.wav"]}'], "line 1: has 2 recordings"),
        (['{"id": 1.5, "audio": "a.wav"}'], "line 1: id is '1.5'; give a text"),
        (['{"id": "x", "audio": "a.wav"}'] * 2, "two items have the id 'x'"),
        ([""], "holds no items"),
    ],
)
def test_a_bad_line_is_named(rows: list[str], message: str, tmp_path: Path):
    (tmp_path / "list.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        read_corpus(str(tmp_path / "list.jsonl"), SPEECH)
    assert str(caught.value).startswith(str(tmp_path / "list.jsonl"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no such file or folder"),
        ("list.csv", "is no input; give a folder"),
        ("empty", "holds no items"),
        ("mixed", "holds parquet files and media"),
    ],
)
def test_what_is_no_corpus_is_refused(name: str, message: str, tmp_path: Path):
    (tmp_path / "list.csv").touch()
    for path in ("empty", "mixed"):
        (tmp_path / path).mkdir()
    for path in ("mixed/a.wav", "mixed/b.parquet"):
        (tmp_path / path).touch()
    with pytest.raises(ConfigError, match=message):
        read_corpus(str(tmp_path / name), SPEECH)
