"""Folders of examples for calibration and for `edgephi fidelity`: examples.jsonl and its media.

    python -m edgephi_nano.make_examples calibration|heldout|stress FOLDER [--count 64]

calibration  from the training side of every split: text, speech, pictures and spoken questions
heldout      the sets that accuracy is measured on, but for those with the adapter off
stress       harder ones: noise, accents, small type, long copying

Needs espeak-ng's C library and the DejaVu fonts; no PyTorch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import soundfile

from edgephi_nano.config import SAMPLE_RATE_HZ
from edgephi_nano.lessons import LESSONS
from edgephi_nano.questions import SETS, Question, QuestionSet
from edgephi_nano.stress import STRESS
from edgephi_nano.tools import SYSTEM_TEXT

EXAMPLES_NAME = "examples.jsonl"
KINDS: dict[str, tuple[QuestionSet, ...]] = {
    "calibration": LESSONS,
    "heldout": tuple(chosen for chosen in SETS if chosen.adapter == "auto"),
    "stress": STRESS,
}


def write_examples(folder: Path, sets: Iterable[QuestionSet], count: int) -> int:
    """Write `count` examples of every set; media first, so that a folder with examples.jsonl is complete.

    Returns:
        How many examples there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for place, chosen in enumerate(sets):
        for number, question in enumerate(chosen.draw(count)):
            entry = _entry(folder, f"{place}-{number:04}", question)
            lines.append(json.dumps({**entry, "measure": chosen.measure, "set": chosen.name}, ensure_ascii=False))
    (folder / EXAMPLES_NAME).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _entry(folder: Path, name: str, question: Question) -> dict[str, Any]:
    """The line of one question, and its media in files."""
    messages: list[dict[str, str]] = [{"role": "user", "content": question.text}]
    if question.tools is not None:
        messages.insert(0, {"role": "system", "content": SYSTEM_TEXT, "tools": question.tools})
    entry: dict[str, Any] = {"messages": messages, "answer": question.answer}
    if question.image is not None:
        question.image.save(folder / f"{name}.png", optimize=True)
        entry["images"] = [f"{name}.png"]
    if question.samples is not None:
        soundfile.write(folder / f"{name}.wav", question.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        entry["audio"] = [f"{name}.wav"]
    return entry


def main() -> None:
    """Write the folder that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=64, help="examples of each set")
    given = parser.parse_args()
    print(f"{write_examples(given.folder, KINDS[given.kind], given.count)} examples in {given.folder}")


if __name__ == "__main__":
    main()
