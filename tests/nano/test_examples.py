"""Nano's folders of examples: calibration reads nothing that fidelity is measured on; stress goes beyond training."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from edgephi_export.calibration.examples import EXAMPLES_NAME, read_examples
from edgephi_export.commands.export import export
from edgephi_nano.fidelity_table import ROWS
from edgephi_nano.lessons import LESSONS
from edgephi_nano.make_examples import write_examples
from edgephi_nano.pictures import FONT_DIR
from edgephi_nano.questions import QuestionSet
from edgephi_nano.sentences import is_held_out
from edgephi_nano.stress import STRESS
from edgephi_nano.text_tasks import user_turn

needs_fonts = pytest.mark.skipif(not FONT_DIR.is_dir(), reason="needs the DejaVu fonts")
LONGEST_COPY = 14


def _set(sets: tuple[QuestionSet, ...], name: str) -> QuestionSet:
    return next(chosen for chosen in sets if chosen.name == name)


def test_calibration_texts_are_on_the_training_side():
    questions = list(_set(LESSONS, "text").draw(60))
    plain = [question for question in questions if question.tools is None]
    assert 20 < len(plain) < 60
    assert not any(is_held_out(question.prompt) for question in plain)
    assert not any(is_held_out(question.text) for question in questions if question.tools is not None)


@needs_fonts
def test_calibration_images_show_no_held_out_text():
    answers = [question.answer for question in _set(LESSONS, "pictures").draw(40)]
    written = [answer for answer in answers if answer.isupper() or answer.isdigit()]
    assert len(written) > 5
    assert not any(map(is_held_out, written))


def test_long_copying_is_held_out_and_longer_than_any_of_training():
    for question in _set(STRESS, "stress, long copying").draw(20):
        assert len(question.answer.split()) > LONGEST_COPY
        assert is_held_out(user_turn(question.text))
        assert question.text == f"Repeat: {question.answer}"


@needs_fonts
def test_a_written_folder_can_be_read_and_is_the_same_each_time(tmp_path: Path):
    sets = (_set(LESSONS, "text"), _set(LESSONS, "pictures"), _set(STRESS, "stress, small type"))
    assert [write_examples(tmp_path / name, sets, 4) for name in "ab"] == [12, 12]
    examples = read_examples(tmp_path / "a")
    assert [one.mode for one in examples] == ["text"] * 4 + ["vision"] * 8
    assert [one.digest for one in examples] == [one.digest for one in read_examples(tmp_path / "b")]
    assert {one.group for one in examples} == {chosen.name for chosen in sets}
    assert all(one.answer and one.measure for one in examples)
    assert "<|image_1|>" not in (tmp_path / "a" / EXAMPLES_NAME).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_the_table_is_an_export(name: str):
    context = export.make_context("export", ["checkpoint", "-o", "out", *shlex.split(ROWS[name])])
    assert context.params["recipe"] in ("fp32", "int8", "int4", "int4-fast", "int2-absorbed")
