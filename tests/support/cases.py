"""The requests on which the runtime must agree with PyTorch transformers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.random_values import integers
from support.signals import random_audio, random_image
from support.vocabulary import FIRST_SPECIAL_ID, build_tokenizer, special_id

IMAGE, AUDIO = special_id("<|endoftext10|>"), special_id("<|endoftext11|>")
USER, END, ASSISTANT = special_id("<|user|>"), special_id("<|end|>"), special_id("<|assistant|>")
SECONDS_PER_ROW = 0.08
ROWS_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request.

    Attributes:
        name: Also the key of its golden values.
        token_ids: One slot token per image and per audio, not yet expanded to rows.
        images: (name, width, height) of each image.
        audio: (name, seconds, sample rate) of each recording.
    """

    name: str
    token_ids: tuple[int, ...]
    images: tuple[tuple[str, int, int], ...] = ()
    audio: tuple[tuple[str, float, int], ...] = field(default=())

    @property
    def adapter(self) -> str:
        """The adapter that the model's rule asks for."""
        return "vision" if self.images else "speech" if self.audio else "none"

    def load_images(self) -> list[NDArray[np.uint8]]:
        """uint8 [height, width, 3] each."""
        return [random_image(*image) for image in self.images]

    def load_audio(self) -> list[tuple[NDArray[np.float32], int]]:
        """(float32 samples, hertz) each."""
        return [(random_audio(*one), one[2]) for one in self.audio]

    def media(self) -> dict[str, Any]:
        """The keyword arguments of `edgephi.Model.logits`."""
        return {"images": self.load_images(), "audio": self.load_audio()}


def words(name: str, count: int) -> tuple[int, ...]:
    """`count` ordinary token ids."""
    return tuple(integers(f"words {name}", 0, count, FIRST_SPECIAL_ID))


def _turn(name: str, count: int, slots: tuple[int, ...] = ()) -> tuple[int, ...]:
    return (USER, *slots, *words(name, count), END, ASSISTANT)


def _text(name: str, total: int) -> Case:
    return Case(name=name, token_ids=_turn(name, total - 3))


def _speech(name: str, *audio: tuple[float, int]) -> Case:
    recordings = tuple((f"{name} {i}", seconds, rate) for i, (seconds, rate) in enumerate(audio))
    return Case(name=name, token_ids=_turn(name, 9, (AUDIO,) * len(audio)), audio=recordings)


def _vision(name: str, *sizes: tuple[int, int], audio: tuple[tuple[float, int], ...] = ()) -> Case:
    recordings = tuple((f"{name} {i}", seconds, rate) for i, (seconds, rate) in enumerate(audio))
    images = tuple((f"{name} {i}", width, height) for i, (width, height) in enumerate(sizes))
    slots = (IMAGE,) * len(sizes) + (AUDIO,) * len(audio)
    return Case(name=name, token_ids=_turn(name, 9, slots), images=images, audio=recordings)


def frames_s(frames: int) -> float:
    """Seconds of 16 kHz audio that give so many 10 ms frames."""
    return (400 + 160 * (frames - 1)) / 16000


CASES = (
    _text("text", 24),
    _text("text_4096_short_factors", 4096),
    _text("text_4097_long_factors", 4097),
    _text("text_4200", 4200),
    _speech("speech_16khz", (1.7, 16000)),
    _speech("speech_8khz", (1.5, 8000)),
    _speech("speech_one_frame", (frames_s(1), 16000)),
    _speech("speech_500_rows", (frames_s(4000), 16000)),
    _speech("speech_501_rows", (frames_s(4001), 16000)),
    _speech("speech_50s", (50.0, 16000)),
    _speech("speech_90s", (90.0, 16000)),
    _speech("speech_two_clips", (0.9, 16000), (1.6, 16000)),
    _vision("image_one_crop", (56, 56)),
    _vision("image_wide_padded", (130, 90)),
    _vision("image_tall_padded", (70, 161)),
    _vision("image_small", (20, 13)),
    _vision("image_many_crops", (500, 310)),
    _vision("two_images", (130, 90), (40, 56)),
    _vision("image_and_audio", (100, 60), audio=((1.3, 16000),)),
)
CASES_BY_NAME = {case.name: case for case in CASES}


def kept_rows(num_rows: int) -> list[int]:
    """Rows of an all-rows answer that the golden files keep: spread evenly, first and last included."""
    return sorted({round(i * (num_rows - 1) / (ROWS_KEPT - 1)) for i in range(ROWS_KEPT)})


#: A prompt of 4,092 tokens whose greedy reply crosses 4,096; every word is one token.
LONG_PROMPT_WORDS = 4089
LONG_REPLY_TOKENS = 8


def long_prompt() -> str:
    """The user's text of the crossing case."""
    vocabulary = (" the", " audio", " text", " image", " into", " is", " clip", " kitchen", " lamp", " on", " off")
    return "".join(vocabulary[i] for i in integers("long prompt", 0, LONG_PROMPT_WORDS, len(vocabulary)))


def long_prompt_ids() -> list[int]:
    """The whole prompt of the crossing case: the user's turn and the start of the reply."""
    return [USER, *build_tokenizer().encode(long_prompt()).ids, END, ASSISTANT]
