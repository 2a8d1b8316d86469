"""The held-out sets as data of `edgephi evaluate`: items.jsonl and its media, in a folder for each suite.

Recordings are kept as floats and images without loss, so answers are those of the samples themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import soundfile

from edgephi_nano.config import SAMPLE_RATE_HZ
from edgephi_nano.questions import Question, QuestionSet
from edgephi_nano.tools import SYSTEM_TEXT


def write_items(folder: Path, sets: Iterable[QuestionSet], count: int) -> None:
    """Write `count` items of every set; media first, so that a folder with items.jsonl is complete."""
    for chosen in sets:
        place = folder / chosen.suite
        if (place / "items.jsonl").is_file():
            continue
        place.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(_item(place, f"{number:04}", question), ensure_ascii=False) + "\n"
            for number, question in enumerate(chosen.draw(count))
        ]
        (place / "items.jsonl").write_text("".join(lines), encoding="utf-8")


def _item(folder: Path, name: str, question: Question) -> dict[str, Any]:
    """The line of one question, and its media in files."""
    item: dict[str, Any] = {"id": name, "prompt": question.text, "answers": [question.answer]}
    if question.tools is not None:
        item |= {"system": SYSTEM_TEXT, "tools": question.tools}
    if question.image is not None:
        question.image.save(folder / f"{name}.png")
        item["images"] = [f"{name}.png"]
    if question.samples is not None:
        soundfile.write(folder / f"{name}.wav", question.samples, SAMPLE_RATE_HZ, subtype="FLOAT")
        item["audio"] = [f"{name}.wav"]
    return item
