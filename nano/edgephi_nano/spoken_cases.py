"""Held-out spoken clips and written commands: texts that training never sees.

Needs no torch. The same on every machine with the same espeak-ng.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgephi_nano.sentences import any_command, on_side
from edgephi_nano.speech_data import KNOWN_VOICES, UNSEEN_VOICES, clips_of, spoken_text
from edgephi_nano.tokenizer import ASSISTANT, END, USER
from edgephi_nano.tools import PARAMETERS, some_tools, tool_answer, tool_prompt, tools_json

TRANSCRIBE = "Transcribe the audio clip into text."
TRANSCRIBE_PROMPT = f"{USER}<|audio_1|>{TRANSCRIBE}{END}{ASSISTANT}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeechCase:
    """One clip to transcribe.

    Attributes:
        samples: float32 [n] in -1..1 at 16 kHz.
        prompt: With the audio tag where the clip goes.
        answer: The words, lower case, separated by single spaces.
    """

    id: str
    samples: np.ndarray
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCase:
    """One written request to be answered by a tool call.

    Attributes:
        text: What the user writes.
        tools: JSON list of the tools on offer, as the system message carries it.
        prompt: The whole prompt, `tools` and `text` included.
        answer: The exact answer, tool-call tags included, without the end token.
    """

    id: str
    text: str
    tools: str
    prompt: str
    answer: str


def speech_clips(n: int, seed: int, voices: Literal["known", "unseen"] = "known") -> Iterator[SpeechCase]:
    """`n` clips of commands, numbers and short sentences, by voices of training or by others."""
    names = {"known": KNOWN_VOICES, "unseen": UNSEEN_VOICES}[voices]
    rng = random.Random(f"speech {voices} {seed}")
    texts = [spoken_text(rng, held_out=True) for _ in range(n)]
    for i, (text, samples) in enumerate(zip(texts, clips_of(texts, rng, names), strict=True)):
        yield SpeechCase(id=f"speech-{voices}-{seed}-{i}", samples=samples, prompt=TRANSCRIBE_PROMPT, answer=text)


def commands(n: int, seed: int) -> Iterator[CommandCase]:
    """`n` smart-home commands with three tools or all of them on offer."""
    rng = random.Random(f"commands {seed}")
    for i in range(n):
        command = on_side(any_command, rng, held_out=True)
        names = some_tools(rng, command.name, rng.choice((3, len(PARAMETERS))))
        yield CommandCase(
            id=f"command-{seed}-{i}",
            text=command.text,
            tools=tools_json(names),
            prompt=tool_prompt(command.text, names),
            answer=tool_answer(command),
        )
