"""Parquet inputs and places that are named by a URI: what needs pyarrow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgephi.base.errors import ConfigError
from edgephi_batch.items import Item
from edgephi_batch.reading.columns import Columns, ItemReader
from edgephi_batch.reading.corpus import read_corpus
from edgephi_batch.reading.parquet import cell_bytes
from edgephi_batch.work.media import local_media
from support.bundles import small_bundle
from support.media_files import write_image, write_recording
from support.shell import invoke

pytestmark = pytest.mark.ray
SPEECH = ItemReader(columns=Columns(), needs_audio=True)
ANY = ItemReader(columns=Columns(), needs_audio=False)


def _write(path: Path, rows: list[dict], group_rows: int = 2) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=group_rows)
    return str(path)


def _media_bytes(items: tuple[Item, ...]) -> list[list[bytes]]:
    return [[cell_bytes(ref) for ref in (*item.images, *item.audio)] for item in items]


def test_media_inside_are_found_where_they_are_and_read_by_the_worker(tmp_path: Path):
    rows = [{"id": f"u{n}", "audio": {"bytes": bytes([n] * 9), "path": f"{n}.wav"}} for n in range(5)]
    items = read_corpus(_write(tmp_path / "a.parquet", rows), SPEECH)
    assert [item.id for item in items] == ["u0", "u1", "u2", "u3", "u4"]
    assert [(item.audio[0].row_group, item.audio[0].row) for item in items] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert _media_bytes(items) == [[row["audio"]["bytes"]] for row in rows]


def test_cells_with_several_media_none_or_bytes_alone_are_read(tmp_path: Path):
    several = [
        {"prompt": "a", "images": [{"bytes": b"1", "path": "x"}, {"bytes": b"2", "path": None}], "audio": b"s"},
        {"prompt": "b", "images": [], "audio": b"t"},
        {"prompt": "c", "images": None, "audio": b"u"},
    ]
    items = read_corpus(_write(tmp_path / "a.parquet", several), ANY)
    assert [item.id for item in items] == ["a.parquet/0/0", "a.parquet/0/1", "a.parquet/1/0"]
    assert [item.prompt for item in items] == ["a", "b", "c"]
    assert _media_bytes(items) == [[b"1", b"2", b"s"], [b"t"], [b"u"]]


def test_a_folder_of_files_is_one_corpus_and_paths_are_beside_their_file(tmp_path: Path):
    for name in ("test-0", "test-1"):
        _write(tmp_path / f"{name}.parquet", [{"audio": f"{name}.wav"}])
    items = read_corpus(str(tmp_path), SPEECH)
    assert [item.audio[0].place for item in items] == [str(tmp_path / f"test-{n}.wav") for n in range(2)]


def test_messages_name_the_file_and_the_row(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(ConfigError, match=r"a\.parquet: is no parquet file"):
        read_corpus(str(tmp_path / "a.parquet"), SPEECH)
    place = _write(tmp_path / "b.parquet", [{"audio": b"1"}, {"audio": None}])
    with pytest.raises(ConfigError, match=r"b\.parquet: audio of row 1 in row group 0: holds no bytes"):
        _media_bytes(read_corpus(place, SPEECH))


def test_a_uri_is_a_folder_a_file_and_a_medium(tmp_path: Path):
    write_recording(tmp_path / "a.wav")
    (tmp_path / "in.jsonl").write_text(json.dumps({"audio": "a.wav"}) + "\n", encoding="utf-8")
    for place in (f"{tmp_path.as_uri()}/in.jsonl", tmp_path.as_uri()):
        (item,) = read_corpus(place, SPEECH)
        assert item.audio[0].place == f"{tmp_path.as_uri()}/a.wav"
        with local_media(item.audio) as (path,):
            assert Path(path).read_bytes() == (tmp_path / "a.wav").read_bytes()
        assert not Path(path).exists()
    for place in (f"{tmp_path.as_uri()}/gone", "nothing://of/this"):
        with pytest.raises(ConfigError, match=f"{place}: cannot be read"):
            read_corpus(place, SPEECH)


def test_rows_of_media_inside_are_those_of_media_beside(tmp_path: Path):
    images = [write_image(tmp_path / f"{n}.png") for n in range(3)]
    inside = [{"id": str(n), "images": {"bytes": image.read_bytes(), "path": None}} for n, image in enumerate(images)]
    beside = [{"id": str(n), "images": str(image)} for n, image in enumerate(images)]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in beside), encoding="utf-8")
    found = []
    for place in (_write(tmp_path / "in.parquet", inside), tmp_path / "in.jsonl"):
        output = tmp_path / Path(place).suffix
        options = ("--prompt", "what?", "--max-new-tokens", 4, "--threads", 1, "--actors", 1, "--engine", "processes")
        assert invoke("batch", "ask", small_bundle(), place, "-o", output, *options).exit_code == 0
        rows = map(json.loads, (output / "results.jsonl").read_text(encoding="utf-8").splitlines())
        found.append([(row["id"], row["text"]) for row in rows])
    assert found[0] == found[1]
