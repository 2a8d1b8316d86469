"""Held-out requests near the edge of what nano can do, where a small loss of the weights shows in the answers.

noise    speech under noise 0 to 9 dB below it; training had 10 dB and more
accents  speakers and an accent that training never had, faster, and higher or lower than any of training
type     signs and numbers at 0.72 of the size that they are drawn at for training
copying  15 to 24 words to repeat; training had 14 at most

Needs no torch. The same on every machine with the same espeak-ng and fonts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from PIL import Image

from edgephi_nano.espeak import Voice, say_all
from edgephi_nano.picture_questions import IMAGE_TAG, WRITTEN, answers
from edgephi_nano.questions import SEED, Question, QuestionSet
from edgephi_nano.scenes import compose
from edgephi_nano.sentences import is_held_out, random_words
from edgephi_nano.speech_data import KNOWN_VOICES, UNSEEN_VOICES, any_voice, clips_of, recorded, spoken_text
from edgephi_nano.spoken_cases import TRANSCRIBE_PROMPT
from edgephi_nano.text_tasks import user_turn
from edgephi_nano.tokenizer import ASSISTANT, END, USER

#: How much smaller a picture is drawn on its own ground.
SHRUNK = 0.72
_LOUDEST_DB, _QUIETEST_DB = 0.0, 9.0
_FEWEST_WORDS, _MOST_WORDS = 15, 24
_ACCENT = "en-gb-x-gbclan"


def _noisy(count: int) -> Iterator[Question]:
    rng = random.Random(f"stress noise {SEED}")
    texts = [spoken_text(rng, held_out=True) for _ in range(count)]
    for text, samples in zip(texts, clips_of(texts, rng, KNOWN_VOICES), strict=True):
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(len(samples), dtype=np.float32)
        level = np.sqrt(np.mean(samples**2)) * 10 ** (-rng.uniform(_LOUDEST_DB, _QUIETEST_DB) / 20)
        heard = samples + noise * np.float32(level)
        yield Question(
            prompt=TRANSCRIBE_PROMPT, answer=text, samples=(heard * (0.95 / np.abs(heard).max())).astype(np.float32)
        )


def _accents(count: int) -> Iterator[Question]:
    rng = random.Random(f"stress accents {SEED}")
    texts = [spoken_text(rng, held_out=True) for _ in range(count)]
    spoken = say_all([(text, _strange_voice(rng)) for text in texts])
    for text, samples in zip(texts, spoken, strict=True):
        heard = recorded(np.random.default_rng(rng.getrandbits(32)), samples)
        yield Question(prompt=TRANSCRIBE_PROMPT, answer=text, samples=heard)


def _strange_voice(rng: random.Random) -> Voice:
    """An unseen speaker outside the speeds and pitches of training."""
    speakers = [name.partition("+")[2] for name in UNSEEN_VOICES]
    usual = any_voice(rng, tuple(f"{_ACCENT}+{speaker}" for speaker in speakers))
    return Voice(
        name=usual.name, rate=rng.randint(215, 270), pitch=rng.choice((rng.randint(0, 20), rng.randint(80, 99)))
    )


def _small_type(count: int) -> Iterator[Question]:
    rng = random.Random(f"stress type {SEED}")
    for number in range(count):
        picture = compose(rng, ("word", "number")[number % 2], held_out=True)
        kind = "sign" if number % 2 == 0 else "number"
        prompt = f"{USER}{IMAGE_TAG}{WRITTEN[kind]}{END}{ASSISTANT}"
        yield Question(prompt=prompt, answer=answers(picture)[kind], image=_shrunk(rng, picture.image))


def _shrunk(rng: random.Random, image: Image.Image) -> Image.Image:
    """The picture at SHRUNK of its size, somewhere on a ground of its first pixel's colour."""
    ground = Image.new("RGB", image.size, image.getpixel((0, 0)))  # type: ignore[arg-type]
    width, height = (round(side * SHRUNK) for side in image.size)
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    ground.paste(small, (rng.randint(0, image.width - width), rng.randint(0, image.height - height)))
    return ground


def _long_copying(count: int) -> Iterator[Question]:
    rng = random.Random(f"stress copying {SEED}")
    for _ in range(count):
        words = random_words(rng, rng.randint(_FEWEST_WORDS, _MOST_WORDS))
        while not is_held_out(user_turn(f"Repeat: {words}")):
            words = random_words(rng, rng.randint(_FEWEST_WORDS, _MOST_WORDS))
        yield Question(prompt=user_turn(f"Repeat: {words}"), answer=words)


STRESS = (
    QuestionSet(name="stress, noise", suite="nano-noise", measure="wer", adapter="auto", bar=0.25, draw=_noisy),
    QuestionSet(name="stress, accents", suite="nano-accents", measure="wer", adapter="auto", bar=0.10, draw=_accents),
    QuestionSet(
        name="stress, small type", suite="nano-small-type", measure="exact", adapter="auto", bar=0.45, draw=_small_type
    ),
    QuestionSet(
        name="stress, long copying", suite="nano-copying", measure="wer", adapter="auto", bar=0.60, draw=_long_copying
    ),
)
