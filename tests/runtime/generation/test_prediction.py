"""A prediction saves passes where it is right, costs few where it is wrong, and never changes a reply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgephi import ConfigError, Model, Regex, SamplingOptions
from edgephi.generation.reply import Reply
from edgephi.generation.speculation import Speculator
from edgephi.prompt.input_sequence import MediaSpan
from support.bundles import nano_bundle
from support.random_values import integers
from support.scripted_decoder import END, TOKENIZER, Script, reply_of, run_loop

NANO = Path(__file__).parents[3] / "nano/samples"
#: No two tokens of it stand there twice, so without a prediction nothing is drafted.
REPLY = [*integers("a reply", 10, 300, 120)]
PROMPT = np.array([1, 2, 3, 4, 5])


def _said(token_ids: list[int], predicted: list[int], mode: bool | None = True) -> tuple[Script, Reply]:
    decoder = Script([*token_ids, END])
    return decoder, reply_of(run_loop(decoder, predicted=predicted, speculation=mode))


def test_an_exact_prediction_takes_few_passes():
    plain, reply = _said(REPLY, [])
    drafted, same = _said(REPLY, REPLY)
    assert same.token_ids == reply.token_ids == (*REPLY, END)
    assert len(plain.widths) > 110
    assert len(drafted.widths) < len(plain.widths) / 6
    assert same.speculation.prediction_accepted >= len(REPLY) * 0.8
    assert len(drafted.widths) + same.speculation.accepted == len(REPLY) + 1


def test_an_edit_is_passed_over():
    """The prediction is the text before the edit: some tokens are others, some are gone, some are new."""
    before = [*REPLY[:40], *integers("old", 300, 390, 5), *REPLY[40:80], *REPLY[95:]]
    plain, _ = _said(REPLY, [])
    drafted, reply = _said(REPLY, before)
    assert reply.token_ids == (*REPLY, END)
    assert len(drafted.widths) < len(plain.widths) / 2
    record = reply.speculation
    assert 0 < record.prediction_drafted - record.prediction_accepted < 40


@pytest.mark.parametrize("mode", [True, None])
@pytest.mark.parametrize("cut", [0, 1, 2, 50, 119, 120])
def test_a_prediction_that_is_too_short_or_too_long_changes_nothing(mode: bool | None, cut: int):
    for said, predicted in ((REPLY, REPLY[:cut]), (REPLY[:cut], REPLY)):
        _, reply = _said(said, predicted, mode)
        assert reply.token_ids == (*said, END)


def test_a_wrong_prediction_is_left_after_its_first_tokens():
    wrong = integers("wrong", 300, 390, 2000)
    drafted, reply = _said(REPLY, wrong)
    assert reply.token_ids == (*REPLY, END)
    assert reply.speculation.prediction_accepted == 0
    assert len(drafted.widths) == len(REPLY) + 1


def test_what_is_drafted_from_the_text_is_not_counted_as_the_prediction():
    text = TOKENIZER.encode_text("turn the lamp on, turn the lamp off, " * 4)
    _, reply = _said(text, [390, 391, 392])
    assert reply.speculation.accepted > 0
    assert reply.speculation.prediction_drafted == 0


def test_where_speculation_is_off_it_has_no_effect():
    speculator = Speculator(PROMPT, mode=False, prediction=[7, 8, 9])
    speculator.accept(7)
    assert speculator.draft(15) == []


def test_the_first_token_need_not_be_known():
    speculator = Speculator(PROMPT, mode=True, prediction=[7, 8, 9, 10])
    assert speculator.draft(15) == [7, 8, 9]
    speculator.accept(7)
    assert speculator.draft(15) == [8, 9, 10]


def test_a_prompt_that_ends_in_media_has_no_place_for_it_and_no_harm():
    ids = np.array([1, 2, 7, 7, 7, 7, 7])
    speculator = Speculator(ids, spans=[MediaSpan(2, 5, b"")], mode=True, prediction=[8, 9, 10, 11, 12])
    for token_id in (8, 9):
        assert speculator.draft(15) == []
        speculator.accept(token_id)
    assert speculator.draft(15)[:1] == [10]


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model.load(nano_bundle(), threads=1, max_context=1500) as loaded:
        yield loaded


@pytest.mark.parametrize(
    ("prompt", "recordings"),
    [
        ("Transcribe the audio clip into text.", ["sentence.wav"]),
        (
            [
                {"role": "system", "content": "Repeat."},
                {"role": "user", "content": "the green bird sees our blue star"},
            ],
            [],
        ),
    ],
)
def test_a_models_reply_is_the_same_and_made_in_fewer_passes(model: Model, prompt: Any, recordings: list[str]):
    def said(**options: Any) -> Reply:
        options = {"temperature": 0.0, "max_new_tokens": 40, "constraint": Regex("[a-z ]{24,60}"), **options}
        return model.generate(prompt, audio=[NANO / name for name in recordings], options=SamplingOptions(**options))

    plain = said(speculation=False)
    reply, other = (said(speculation=True, prediction=text) for text in (plain.text, "something else " * 9))
    assert reply.token_ids == other.token_ids == plain.token_ids
    assert reply.speculation.prediction_accepted >= len(plain.token_ids) / 2
    assert other.speculation.prediction_accepted < len(plain.token_ids) / 2


@pytest.mark.parametrize("predicted", ["\ud800", "a b " * 2000, 7, ["a"]])
def test_a_prediction_that_cannot_be_used_is_refused(model: Model, predicted: object):
    with pytest.raises(ConfigError):
        model.prepare("hello", options=SamplingOptions(prediction=predicted))  # type: ignore[arg-type]
