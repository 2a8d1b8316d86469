"""Requests from the training side of every split, for calibration: none of them is in a held-out set.

Needs no torch. The same on every machine with the same espeak-ng and fonts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from edgephi_nano.picture_questions import AUDIO_TAG, HELD_OUT_SCENES, IMAGE_TAG, SPOKEN, WRITTEN, answers
from edgephi_nano.questions import Question, QuestionSet
from edgephi_nano.scenes import compose
from edgephi_nano.speech_data import KNOWN_VOICES, clips_of, training_text
from edgephi_nano.spoken_cases import TRANSCRIBE_PROMPT
from edgephi_nano.text_tasks import Task, any_task, tool_call
from edgephi_nano.tokenizer import ASSISTANT, END, SYSTEM, TOOL, TOOL_STOP, USER

SEED = 3


def _texts(count: int) -> Iterator[Question]:
    rng = random.Random(f"lessons text {SEED}")
    for _ in range(count):
        yield _question(any_task(rng))


def _tool_calls(count: int) -> Iterator[Question]:
    rng = random.Random(f"lessons tool calls {SEED}")
    for _ in range(count):
        yield _question(tool_call(rng))


def _question(task: Task) -> Question:
    offered = task.prompt.partition(TOOL)[2].partition(TOOL_STOP)[0] if task.prompt.startswith(SYSTEM) else ""
    return Question(prompt=task.prompt, answer=task.answer, tools=offered or None)


def _speech(count: int) -> Iterator[Question]:
    rng = random.Random(f"lessons speech {SEED}")
    texts = [training_text(rng) for _ in range(count)]
    for text, samples in zip(texts, clips_of(texts, rng, KNOWN_VOICES), strict=True):
        yield Question(prompt=TRANSCRIBE_PROMPT, answer=text, samples=samples)


def _pictures(count: int) -> Iterator[Question]:
    for question, _ in _drawn(count, random.Random(f"lessons pictures {SEED}")):
        yield question


def _spoken(count: int) -> Iterator[Question]:
    rng = random.Random(f"lessons spoken {SEED}")
    drawn = list(_drawn(count, rng))
    clips = clips_of([rng.choice(SPOKEN[kind]) for _, kind in drawn], rng, KNOWN_VOICES)
    prompt = f"{USER}{IMAGE_TAG}{AUDIO_TAG}{END}{ASSISTANT}"
    for (question, _), samples in zip(drawn, clips, strict=True):
        yield Question(prompt=prompt, answer=question.answer, image=question.image, samples=samples)


def _drawn(count: int, rng: random.Random) -> Iterator[tuple[Question, str]]:
    """Written questions about pictures of training, each with its kind."""
    for number in range(count):
        picture = compose(rng, HELD_OUT_SCENES[number % len(HELD_OUT_SCENES)])
        kind, answer = rng.choice(sorted(answers(picture).items()))
        prompt = f"{USER}{IMAGE_TAG}{WRITTEN[kind]}{END}{ASSISTANT}"
        yield Question(prompt=prompt, answer=answer, image=picture.image), kind


#: What a calibration reads; their bars say nothing, since nobody is judged by what it was trained on.
LESSONS = (
    QuestionSet(name="text", measure="exact", adapter="auto", bar=0.0, draw=_texts),
    QuestionSet(name="tool calls", measure="exact", adapter="auto", bar=0.0, draw=_tool_calls),
    QuestionSet(name="speech", measure="wer", adapter="auto", bar=1.0, draw=_speech),
    QuestionSet(name="pictures", measure="exact", adapter="auto", bar=0.0, draw=_pictures),
    QuestionSet(name="spoken questions", measure="exact", adapter="auto", bar=0.0, draw=_spoken),
)
