"""Questions about pictures and their answers, written and spoken, for training and for held-out sets.

Needs no torch. The held-out sets are the same on every machine with the same fonts: pictures drawn from a seed,
with texts that training never shows (see `sentences.is_held_out`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from edgephi.audio.decoding import Waveform, log_mel
from edgephi_nano.pictures import Picture
from edgephi_nano.scenes import compose
from edgephi_nano.speech_data import KNOWN_VOICES, UNSEEN_VOICES, clips_of
from edgephi_nano.tokenizer import ASSISTANT, END, USER

IMAGE_TAG, AUDIO_TAG = "<|image_1|>", "<|audio_1|>"
WRITTEN: dict[str, str] = {
    "sign": "What does the sign say?",
    "number": "What number is shown?",
    "colour": "What colour is the shape?",
    "shape": "What shape is shown?",
    "tallest": "Which bar is tallest?",
}
SPOKEN: dict[str, tuple[str, ...]] = {
    "sign": ("what does the sign say", "what is on the sign"),
    "number": ("what number is shown", "which number is shown"),
    "colour": ("what colour is the shape", "which colour is the shape"),
    "shape": ("what shape is shown", "which shape is shown"),
    "tallest": ("which bar is tallest", "what colour is the tallest bar"),
}
SCENES = ("word", "letters", "number", "shape", "labelled", "bars")
HELD_OUT_SCENES = ("word", "number", "shape", "labelled", "bars")


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureCase:
    """One held-out question about a picture.

    Attributes:
        id: Names the case in reports.
        image: RGB.
        scene: What was drawn.
        question: Key of WRITTEN.
        prompt: Holds the media tags.
        answer: The exact text wanted.
        samples: float32 [n] at 16 kHz, the question spoken; None when it is written.
    """

    id: str
    image: Image.Image
    scene: str
    question: str
    prompt: str
    answer: str
    samples: np.ndarray | None = None

    @property
    def features(self) -> np.ndarray | None:
        """float32 [T, 80] log-mel features of a spoken question."""
        return None if self.samples is None else log_mel(Waveform(self.samples))


def answers(picture: Picture) -> dict[str, str]:
    """Every question kind that fits the picture, with its answer."""
    out = {}
    if picture.text:
        out["sign"] = picture.text
        if picture.text.isdigit():
            out["number"] = picture.text
    for mark in picture.marks:
        if mark.kind == "shape":
            out |= {"colour": mark.colour, "shape": mark.name}
        elif mark.kind == "bar" and mark.name == "tallest":
            out["tallest"] = mark.colour
    return out


def held_out_picture(rng: random.Random, scene: str) -> tuple[Picture, str, str]:
    """A picture training never sees, one question kind about it, and the answer."""
    picture = compose(rng, scene, held_out=True)
    kind, answer = rng.choice(sorted(answers(picture).items()))
    return picture, kind, answer


def pictures(n: int, seed: int) -> Iterator[PictureCase]:
    """`n` held-out written questions: words, numbers, shapes, shapes beside texts, and bar charts in turn."""
    rng = random.Random(f"pictures {seed}")
    for i in range(n):
        scene = HELD_OUT_SCENES[i % len(HELD_OUT_SCENES)]
        picture, kind, answer = held_out_picture(rng, scene)
        prompt = f"{USER}{IMAGE_TAG}{WRITTEN[kind]}{END}{ASSISTANT}"
        yield PictureCase(
            id=f"picture-{seed}-{i}", image=picture.image, scene=scene, question=kind, prompt=prompt, answer=answer
        )


def spoken_questions(n: int, seed: int, voices: str = "known") -> Iterator[PictureCase]:
    """`n` held-out spoken questions about held-out pictures, by "known" or "unseen" voices."""
    names = {"known": KNOWN_VOICES, "unseen": UNSEEN_VOICES}[voices]
    rng = random.Random(f"spoken questions {seed} {voices}")
    scenes = [HELD_OUT_SCENES[i % len(HELD_OUT_SCENES)] for i in range(n)]
    drawn = [held_out_picture(rng, scene) for scene in scenes]
    clips = clips_of([rng.choice(SPOKEN[kind]) for _, kind, _ in drawn], rng, names)
    for i, ((picture, kind, answer), samples) in enumerate(zip(drawn, clips, strict=True)):
        yield PictureCase(
            id=f"spoken-question-{voices}-{seed}-{i}",
            image=picture.image,
            scene=picture.scene,
            question=kind,
            prompt=f"{USER}{IMAGE_TAG}{AUDIO_TAG}{END}{ASSISTANT}",
            answer=answer,
            samples=samples,
        )
