"""Nano's sets measured by `edgephi evaluate` must be the model's answers to the questions themselves, in every form."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from edgephi import Model, SamplingOptions
from edgephi_evaluate.engines.edgephi_engine import EdgephiEngine
from edgephi_evaluate.item import Item
from edgephi_evaluate.readers.items import read_items
from edgephi_evaluate.runs.folder import read_records, suite_folder
from edgephi_nano.accuracy import Place, measure
from edgephi_nano.evaluation_items import write_items
from edgephi_nano.questions import SETS, Question, QuestionSet
from edgephi_nano.scoring import word_error_rate
from edgephi_nano.tokenizer import END, END_OF_TEXT, build_tokenizer, special_id
from edgephi_nano.tools import SYSTEM_TEXT
from support.bundles import nano_bundle

COUNT = 5


class _Loaded:
    """An engine of nano's, on a model that is loaded."""

    def __init__(self, model: Model) -> None:
        self._engine = EdgephiEngine(model, nano_bundle())

    def asked(self) -> EdgephiEngine:
        return self._engine


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(nano_bundle()) as loaded:
        yield loaded


def _sets() -> tuple[QuestionSet, ...]:
    """Those that this machine can make: speech needs espeak-ng's library, images the DejaVu fonts."""
    names = ("speech, adapter off", "pictures", "tool calls", "spoken questions, known")
    return tuple(chosen for chosen in SETS if chosen.name in names)


def _asked_directly(model: Model, question: Question, chosen: QuestionSet) -> str:
    messages: list[dict[str, str]] = [{"role": "user", "content": question.text}]
    if question.tools is not None:
        messages.insert(0, {"role": "system", "content": SYSTEM_TEXT, "tools": question.tools})
    model.clear_cache()
    reply = model.generate(
        messages,
        images=[question.image] if question.image is not None else [],
        audio=[(question.samples, 16_000)] if question.samples is not None else [],
        options=SamplingOptions.greedy(max_new_tokens=64, speculation=False),
        adapter=chosen.adapter,
    )
    stops = {special_id(END), special_id(END_OF_TEXT)}
    return build_tokenizer().decode([n for n in reply.token_ids if n not in stops], skip_special_tokens=False)


@pytest.mark.parametrize("chosen", _sets(), ids=lambda chosen: chosen.suite)
def test_a_figure_is_that_of_the_questions_asked_directly(model: Model, tmp_path: Path, chosen: QuestionSet):
    try:
        questions = list(chosen.draw(COUNT))
    except (OSError, RuntimeError):
        pytest.skip("needs espeak-ng and the DejaVu fonts")
    write_items(tmp_path / "data", (chosen,), COUNT)
    (figure,) = measure({"int4": _Loaded(model)}, chosen, Place(tmp_path))
    replies = [_asked_directly(model, question, chosen) for question in questions]
    wanted = [question.answer for question in questions]
    right = sum(one == other for one, other in zip(wanted, replies, strict=True)) / COUNT
    assert figure.figure == pytest.approx(word_error_rate(wanted, replies) if chosen.measure == "wer" else right)
    assert figure.count == COUNT
    records = {record.id: record for record in read_records(suite_folder(tmp_path / "int4", chosen.suite))}
    assert [records[f"{n:04}"].marked_reply or records[f"{n:04}"].reply for n in range(COUNT)] == replies


@pytest.mark.parametrize("chosen", _sets(), ids=lambda chosen: chosen.suite)
def test_tsv_and_parquet_give_the_same_items(tmp_path: Path, chosen: QuestionSet):
    """The same items have the same figures, to the digit."""
    try:
        write_items(tmp_path, (chosen,), COUNT)
    except (OSError, RuntimeError):
        pytest.skip("needs espeak-ng and the DejaVu fonts")
    folder = tmp_path / chosen.suite
    lines = [json.loads(one) for one in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(lines), folder / "items.parquet")
    with (folder / "items.tsv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]), delimiter="\t")
        writer.writeheader()
        texts = [
            {key: json.dumps(value) if isinstance(value, list) else value for key, value in one.items()}
            for one in lines
        ]
        writer.writerows(texts)
    first, *others = (_plain_items(folder / f"items.{suffix}") for suffix in ("jsonl", "tsv", "parquet"))
    assert len(first) == COUNT
    assert others == [first, first]


def _in_tsv(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value


def _plain_items(path: Path) -> list[tuple[Item, tuple[str | bytes, ...]]]:
    """Items, and what reading their media gives in place of how it is read."""
    return [(replace(item, images=(), audio=()), tuple(one.read() for one in item.media)) for item in read_items(path)]
