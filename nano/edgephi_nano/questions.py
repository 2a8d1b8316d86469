"""Held-out requests in one shape, whatever they are about, so that any engine can be asked all of them.

The sets that accuracy is measured on, their measures and the limits they must reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from edgephi_nano.heldout import commands, pictures, speech_clips, spoken_questions
from edgephi_nano.tokenizer import END, USER

SEED = 11
MOST_NEW_TOKENS = 64
_TAGS = ("<|image_1|>", "<|audio_1|>")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """One request and its right answer.

    Attributes:
        prompt: The whole prompt with control tokens and media tags.
        answer: The exact answer, control tokens included, without the end token.
        tools: JSON text of the tools offered; None for none.
        image: RGB, or None.
        samples: float32 [n] at 16 kHz, or None.
    """

    prompt: str
    answer: str
    tools: str | None = None
    image: Image.Image | None = None
    samples: np.ndarray | None = None

    @property
    def text(self) -> str:
        """What the user wrote: the last turn of the prompt without media tags, which the runtime places itself."""
        text = self.prompt.rpartition(USER)[2].partition(END)[0]
        for tag in _TAGS:
            text = text.replace(tag, "")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """Requests of one kind.

    Attributes:
        name: As the table shows it.
        measure: `wer`: word error rate over all answers; `exact`: share of answers that are right to the letter.
        adapter: `auto` for the model's rule, `none` to force the adapter off.
        bar: The figure must be at most this for `wer`, at least this for `exact`; the other way round with the
            adapter off, where being good would mean that the adapter does nothing.
        draw: Gives a number of questions.
        suite: Of `edgephi evaluate`, by which it is measured; empty for sets of the training side.
    """

    name: str
    measure: Literal["wer", "exact"]
    adapter: Literal["auto", "none"]
    bar: float
    draw: Callable[[int], Iterator[Question]]
    suite: str = ""

    def is_met(self, figure: float) -> bool:
        """Whether the bar is cleared."""
        wants_low = (self.measure == "wer") == (self.adapter == "auto")
        return figure <= self.bar if wants_low else figure >= self.bar


def _speech(voices: Literal["known", "unseen"]) -> Callable[[int], Iterator[Question]]:
    def draw(count: int) -> Iterator[Question]:
        for case in speech_clips(count, SEED, voices=voices):
            yield Question(prompt=case.prompt, answer=case.answer, samples=case.samples)

    return draw


def _pictures(count: int) -> Iterator[Question]:
    for case in pictures(count, SEED):
        yield Question(prompt=case.prompt, answer=case.answer, image=case.image)


def _commands(count: int) -> Iterator[Question]:
    for case in commands(count, SEED):
        yield Question(prompt=case.prompt, answer=case.answer, tools=case.tools)


def _spoken(voices: Literal["known", "unseen"]) -> Callable[[int], Iterator[Question]]:
    def draw(count: int) -> Iterator[Question]:
        for case in spoken_questions(count, SEED, voices=voices):
            yield Question(prompt=case.prompt, answer=case.answer, image=case.image, samples=case.samples)

    return draw


SETS = (
    QuestionSet(
        name="speech, known voices", suite="nano-speech", measure="wer", adapter="auto", bar=0.05, draw=_speech("known")
    ),
    QuestionSet(
        name="speech, unseen voices",
        suite="nano-speech-unseen",
        measure="wer",
        adapter="auto",
        bar=0.12,
        draw=_speech("unseen"),
    ),
    QuestionSet(
        name="speech, adapter off",
        suite="nano-speech-off",
        measure="wer",
        adapter="none",
        bar=0.70,
        draw=_speech("known"),
    ),
    QuestionSet(name="pictures", suite="nano-images", measure="exact", adapter="auto", bar=0.90, draw=_pictures),
    QuestionSet(
        name="pictures, adapter off", suite="nano-images-off", measure="exact", adapter="none", bar=0.20, draw=_pictures
    ),
    QuestionSet(name="tool calls", suite="nano-calls", measure="exact", adapter="auto", bar=0.95, draw=_commands),
    QuestionSet(
        name="spoken questions, known",
        suite="nano-spoken",
        measure="exact",
        adapter="auto",
        bar=0.85,
        draw=_spoken("known"),
    ),
    QuestionSet(
        name="spoken questions, unseen",
        suite="nano-spoken-unseen",
        measure="exact",
        adapter="auto",
        bar=0.85,
        draw=_spoken("unseen"),
    ),
)
