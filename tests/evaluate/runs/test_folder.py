"""A run must go on where it was killed, never mix two models, and come out alike in one piece or in shards."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest

from edgephi.base.errors import ArtifactError, ConfigError, EdgeError
from edgephi_evaluate.report.runs import read_reports
from edgephi_evaluate.runs.folder import open_shard, read_records, read_run, shard_name, suite_folder
from edgephi_evaluate.runs.merging import merge
from support.evaluation import SUITE, ScriptedEngine, run, write_items


def _spoiled(number: int, text: str) -> str:
    return text.replace(" b", "") if number % 3 == 0 else text


def _figures(folder: Path) -> tuple:
    (summary,) = read_reports((folder,), None)[0].summaries
    return summary.whole, summary.parts, summary.speed


def _file(folder: Path, shard: int = 1, shards: int = 1) -> Path:
    return suite_folder(folder, SUITE) / shard_name(shard, shards)


def test_a_run_that_was_cut_anywhere_goes_on_and_asks_nothing_twice(tmp_path: Path):
    data = write_items(tmp_path / "data")
    whole = run(ScriptedEngine(_spoiled), data, tmp_path / "whole")
    content = _file(whole).read_bytes()
    rng = random.Random(3)
    for number in range(20):
        cut = tmp_path / f"cut{number}"
        run(ScriptedEngine(_spoiled), data, cut)
        kept = rng.randrange(len(content))
        _file(cut).write_bytes(content[:kept])
        engine = ScriptedEngine(_spoiled)
        run(engine, data, cut)
        assert len(engine.asked) == 40 - content[:kept].count(b"\n")
        assert sorted(record.id for record in read_records(suite_folder(cut, SUITE))) == sorted(map(str, range(40)))
        assert _figures(cut) == _figures(whole)


def test_longest_items_come_first(tmp_path: Path):
    engine = ScriptedEngine()
    run(engine, write_items(tmp_path / "data"), tmp_path / "run")
    sizes = [int(name) % 7 for name in engine.asked]
    assert sizes == sorted(sizes, reverse=True)


def test_shards_merged_equal_one_run(tmp_path: Path):
    data = write_items(tmp_path / "data")
    whole = run(ScriptedEngine(_spoiled), data, tmp_path / "whole")
    parts = [run(ScriptedEngine(_spoiled), data, tmp_path / f"part{n}", shard=n, shards=2) for n in (1, 2)]
    sizes = [len(read_records(suite_folder(part, SUITE))) for part in parts]
    assert sum(sizes) == 40
    assert min(sizes) > 5
    assert read_reports((parts[0],), None)[0].summaries[0].missing == sizes[1]
    assert merge(parts, tmp_path / "merged") == 40
    assert _figures(tmp_path / "merged") == _figures(whole)
    with pytest.raises(ConfigError, match="is in an earlier run too"):
        merge([parts[0], parts[0]], tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


@pytest.mark.parametrize("other", ["model", "data", "limit", "shards"])
def test_a_run_of_anything_else_is_refused_and_kept(tmp_path: Path, other: str):
    data = write_items(tmp_path / "data")
    folder = run(ScriptedEngine(), data, tmp_path / "run")
    before = _file(folder).read_bytes()
    if other == "data":
        write_items(data, 41)
    engine = ScriptedEngine(model="n" if other == "model" else "m")
    selection = {"limit": 3} if other == "limit" else {"shard": 1, "shards": 2} if other == "shards" else {}
    words = {"model": "model 'm', not 'n'", "data": "data sha256", "limit": "items 40", "shards": "1 shards, not 2"}
    with pytest.raises(ConfigError, match=words[other]):
        run(engine, data, folder, **selection)
    assert engine.asked == []
    assert _file(folder).read_bytes() == before


def test_a_model_folder_may_have_moved(tmp_path: Path):
    data = write_items(tmp_path / "data")
    engines = [ScriptedEngine(model=model) for model in "mn"]
    for engine in engines:
        engine.identity = dataclasses.replace(engine.identity, model_sha256="abc")
        run(engine, data, tmp_path / "run")
    assert engines[1].asked == []


def test_two_processes_do_not_write_one_file(tmp_path: Path):
    with (
        open_shard(tmp_path / "items"),
        pytest.raises(ConfigError, match="another process"),
        open_shard(tmp_path / "items"),
    ):
        pass


def test_damage_is_named(tmp_path: Path):
    folder = run(ScriptedEngine(), write_items(tmp_path / "data"), tmp_path / "run")
    path = _file(folder)
    first = path.read_text().splitlines()[0]
    path.write_text(f"{first}\n{first}\n")
    with pytest.raises(ArtifactError, match=r"line 2: item \d+ is there twice"):
        read_records(suite_folder(folder, SUITE))
    path.write_text('{"id": 1}\n')
    with pytest.raises(ArtifactError, match=r"line 1\.id: expected str"):
        read_records(suite_folder(folder, SUITE))
    record = suite_folder(folder, SUITE) / "run.json"
    record.write_text(record.read_text().replace('"items": 40', '"items": 4'))
    with pytest.raises(ArtifactError, match="was changed by hand"):
        read_run(suite_folder(folder, SUITE))
    record.unlink()
    with pytest.raises(ArtifactError, match="holds no run"):
        read_reports((folder,), None)
    with pytest.raises(ArtifactError, match=r"has answers and no run\.json"):
        run(ScriptedEngine(), tmp_path / "data", folder)


def test_a_failed_item_counts_as_wrong_and_its_error_is_kept(tmp_path: Path):
    engine = ScriptedEngine(lambda number, text: "fail" if number == 5 else text)
    folder = run(engine, write_items(tmp_path / "data"), tmp_path / "run")
    (failed,) = [one for one in read_records(suite_folder(folder, SUITE)) if one.error is not None]
    assert (failed.id, failed.error, failed.counts) == ("5", "item 5 fails", (4.0, 4.0))
    summary = read_reports((folder,), None)[0].summaries[0]
    assert summary.whole.estimate.value == pytest.approx(100 * 4 / 160)
    assert summary.too_many_failed


def test_an_engine_that_answers_nothing_ends_the_run(tmp_path: Path):
    engine = ScriptedEngine(lambda number, text: "fail")
    with pytest.raises(EdgeError, match="the first 20 items all failed, the last with: item"):
        run(engine, write_items(tmp_path / "data"), tmp_path / "run")


def test_a_limit_draws_the_same_items_of_each_part(tmp_path: Path):
    data = write_items(tmp_path / "data")
    engines = [ScriptedEngine() for _ in range(3)]
    for number, engine in enumerate(engines):
        run(engine, data, tmp_path / f"run{number}", limit=4, seed=number // 2)
    first, second, third = (sorted(map(int, engine.asked)) for engine in engines)
    assert first == second != third
    assert [sum(number % 2 == part for number in first) for part in (0, 1)] == [4, 4]


def test_items_with_one_id_are_refused(tmp_path: Path):
    data = write_items(tmp_path / "data", 2)
    path = data / "items.jsonl"
    path.write_text(path.read_text() * 2)
    with pytest.raises(ArtifactError, match="item 0 is there twice"):
        run(ScriptedEngine(), data, tmp_path / "run")
    path.write_text(json.dumps({"id": "1", "prompt": "x"}))
    with pytest.raises(ArtifactError, match="item 1 has no answers"):
        run(ScriptedEngine(), data, tmp_path / "run")
